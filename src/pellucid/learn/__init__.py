"""Make networks: damage, data, models, losses and training. The only room with torch."""
