"""How good it is: scores, baselines, panels, curves and the page that shows them."""
