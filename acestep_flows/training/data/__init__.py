"""Songs to learn from: where they come from, and how they are kept once encoded."""
