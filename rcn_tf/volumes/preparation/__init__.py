"""From grey values to a network's input: background, foreground box, range, grid."""
