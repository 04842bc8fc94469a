"""Clients of other servers, unmodified: each family speaks the interface of one, and translates it to runs and back.

A family is a folder here. It owns no state: ids are those of runs and assets, and what it must know later stands in the
run's inputs, warnings and labels. No family imports another. What they share lies beside them:

- `spoken`: which families there are, and `--speak NAME[=PORT]`
- `family`: what a family is; `mount`: families as parts of the server's application
- `exchange`: one request of a family, with all that it may ask of the server: caller, body, audio, submit, wait,
  cancel, progress, takes, addresses
- `fields` and `parsing`: one table of fields per interface, values as other servers' clients write them, the draft of a
  song, and its warnings; `song_rows`: rows that interfaces for version 1 have alike but for their names
- `bodies`, `embedded_files`, `files`, `fetching`, `audio_source`: bodies in every form, and audio into the asset store
- `given_audio`: audio to stay near or to change, with its length
- `callers` and `links`: who calls, and addresses of files that players open without a key
- `phases` and `takes`: the states, the progress and the songs of a run, for answers and for webhooks, which a family
  makes in its own form (`Family.webhook`)
- `model_list`: the entry of the model where an interface lists models
- `refusal`, `unfinished`: errors, for a family to render in its own form

A family in ten lines, in `compat/NAME/family.py`:

    router = APIRouter()
    TABLE = (FieldRow("prompt", text(), "tags"), FieldRow("seconds", number(0.1, 240), "duration"))

    @router.post("/songs")
    async def make(exchange: TheExchange) -> Any:
        body = await exchange.read_body()
        draft = translate(TABLE, body.fields, await exchange.draft("text2music"))
        record = await exchange.wait_or_fail(await exchange.submit(draft))
        return {"url": (await exchange.takes(record))[0].url, "warnings": record.warnings}

    FAMILY = Family("NAME", "what it is", router, render=lambda request, error: JSONResponse(...))

`v1` is the pattern: `v1/tables.py` has its fields, `v1/family.py` its routes, `tests/compat/v1` its tests.
"""
