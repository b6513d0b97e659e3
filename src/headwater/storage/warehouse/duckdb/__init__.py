"""The embedded backend: one DuckDB file a project; the tables are in `ddl/`.

`store` keeps the contract and passes each call on, with what all share: `state`, and in it the open `database`.

    in       blocks → load (late, refused, replays), maintain → seal
    out      answer → sql (binding, dialect, measures, pages), reads, examine
    away     retention → removals, reclaim; both in `turns` beside the loads
    itself   opening (migrate, engine, mark), cutover → switch
"""
