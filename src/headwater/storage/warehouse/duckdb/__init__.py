"""The embedded backend: one DuckDB file a project. `sql.py` turns plans into SQL; the tables are in `ddl/`."""
