"""The interface of OpenAI, at `serve --speak openai`: songs as chat completions with audio, and as speech."""
