"""Run networks on pictures of any size: numpy and ONNX Runtime, never torch unless asked.

Read on in the order of the road: `tiles` (any size in bounded memory), `noise` (how noisy a picture
is), `floats` (pictures of any range), `zoo` (the models in the box), `exported` (what an ONNX file
needs), `openvino` (an optional engine), `runtime` (the one home of ONNX Runtime), `twins` (grey and
colour), `denoise` (one picture), `files` (many).
"""
