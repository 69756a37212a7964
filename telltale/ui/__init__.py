"""Server-rendered pages for whoever is on call: no script, no build step."""
