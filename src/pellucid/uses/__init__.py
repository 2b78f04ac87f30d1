"""What a code is good for: to find the strange, to compare, to draw anew, to pack small."""
