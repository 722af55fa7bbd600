"""Whether an engine keeps the contract: `python -m app engine check my_engine:MyEngine`.

Also `TRYONAI_ENGINE=my_engine:MyEngine pytest --pyargs app.engines.conformance`, one test a check.
The engine runs in the same process as in the server, wrapped in a probe that sees what it does; the
pictures are the catalogue's. docs/engines.md tells of each check.
"""
