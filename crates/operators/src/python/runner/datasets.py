"""Data sets: what `ti.dataset` gives, and how a task leaves one.

pandas, polars and pyarrow belong to the task's environment. None of them is imported here before a task asks for it, so
that a path can be read with whatever there is.
"""

import importlib
import importlib.util
import os
import sys

from _towpath import api
from _towpath.errors import AirflowNotFoundException

RETURN_VALUE = "return_value"
# Formats by the ends of names. Text files may be compressed as a whole.
SUFFIXES = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".avro": "avro",
}
FORMATS = sorted(set(SUFFIXES.values()))
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
# What pyarrow calls them.
ARROW_FORMATS = {"parquet": "parquet", "csv": "csv", "arrow": "ipc", "ndjson": "json"}
FRAMES = ("arrow", "pandas", "polars", "rows")
FILE = "part-00000.parquet"


class MissingPackage(ImportError):
    """A package that the task's environment does not have."""


class DataSetGone(AirflowNotFoundException):
    """A data set whose files are not there any more."""


def load(package, use):
    """The package, imported now."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise missing(package.partition(".")[0], use, error) from error


def missing(name, use, error=None):
    python = sys.executable or "python3"
    broken = isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError)
    how = f"cannot be imported ({error})" if broken else "is not there"
    return MissingPackage(
        f"{use} needs the package `{name}`, which {how} in the Python of this task ({python}); add it with "
        f"`{python} -m pip install {name}`, or let `python:` of the task name a virtual environment that has it",
        name=name,
    )


def has(package):
    return importlib.util.find_spec(package) is not None


class Dataset:
    """Rows in files: of a data set that a task has left, or files that a task wants to leave as one.

    `path` is a file or a folder, or a list of them; `format` (parquet, csv, ndjson, json, arrow or avro) is told by their
    names where it is not given.
    """

    def __init__(self, path, format=None):
        paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
        if not paths:
            raise ValueError("Dataset: there is no path")
        self._roots = [os.path.abspath(os.fspath(one)) for one in paths]
        if format is not None and format not in FORMATS:
            raise ValueError(f"Dataset: there is no format {format!r}; there are {', '.join(FORMATS)}")
        self.format = format or _format_of(self._roots[0])
        self._records = None
        self._manifests = None
        self._task_id = None

    @classmethod
    def _of_values(cls, values, task_id):
        """What a task has returned, each of its instances a value."""
        roots, formats, manifests, records = [], set(), [], []
        for value in values:
            location = value.get("location") if isinstance(value, dict) else None
            if isinstance(location, str) and "rows" in value:
                roots.append(location)
                formats.add(value.get("format", "parquet"))
                manifests.append(value)
            elif isinstance(value, list) and all(isinstance(row, dict) for row in value):
                records.extend(value)
            else:
                raise AirflowNotFoundException(
                    f"dataset: what task `{task_id}` has returned is neither a data set nor a list of rows; it has to be an "
                    "extract, a transform, a load into files, or a Python task that returns a frame or a Dataset"
                )
        if len(formats) > 1 or (roots and records):
            raise AirflowNotFoundException(f"dataset: the instances of task `{task_id}` have left data of different kinds")
        found = cls.__new__(cls)
        found._roots = roots
        found.format = formats.pop() if formats else None
        found._records = None if roots else records
        found._manifests = manifests if roots else None
        found._task_id = task_id
        return found

    @classmethod
    def _of_part(cls, part):
        """What an instance of a mapped task has got of a data set: a source as DAG files write it, or a manifest."""
        if isinstance(part, Dataset):
            return part
        if isinstance(part, dict) and "location" in part:
            return cls._of_values([part], "?")
        if isinstance(part, dict):
            for name in FORMATS:
                if name in part:
                    return cls(part[name], format=name)
        raise TypeError(f"dataset: takes the id of a task, or a part of a data set, not a {type(part).__name__}")

    @property
    def paths(self):
        """The files, as `pathlib.Path`s, in the order of their rows."""
        from pathlib import Path

        if self._records is not None:
            raise ValueError(f"dataset: task `{self._task_id}` has returned rows, which are in no file; take a frame")
        return [Path(file) for root in self._roots for file in self._files(root)]

    @property
    def path(self):
        """The file. Where there are several, the folder that holds them."""
        from pathlib import Path

        files = self.paths
        if len(files) == 1:
            return files[0]
        if len(self._roots) == 1:
            return Path(self._roots[0])
        raise ValueError(f"dataset: it is in {len(files)} files of {len(self._roots)} folders; use `paths`")

    @property
    def schema(self):
        """The names of the columns with their types, as text."""
        if self._manifests is not None and self._manifests[0].get("schema"):
            return {field["name"]: field["type"] for field in self._manifests[0]["schema"]}
        schema = next(iter(self._arrow_sources("schema"))).schema if self._records is None else self.to_arrow().schema
        return {field.name: str(field.type) for field in schema}

    @property
    def rows(self):
        """How many rows there are."""
        if self._manifests is not None:
            return sum(manifest["rows"] for manifest in self._manifests)
        if self._records is not None:
            return len(self._records)
        return sum(source.count_rows() for source in self._arrow_sources("rows"))

    def __len__(self):
        return self.rows

    def __bool__(self):
        return True

    def to_arrow(self, columns=None):
        """All rows as a `pyarrow.Table`."""
        pa = load("pyarrow", "to_arrow")
        if self._records is not None:
            table = pa.Table.from_pylist(self._records)
            return table.select(columns) if columns is not None else table
        if self.format in ("json", "avro"):
            return self._other("to_arrow").to_arrow()
        tables = [source.to_table(columns=columns) for source in self._arrow_sources("to_arrow")]
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")

    def to_pandas(self, columns=None):
        """All rows as a `pandas.DataFrame`."""
        pd = load("pandas", "to_pandas")
        if self._records is not None:
            frame = pd.DataFrame.from_records(self._records)
        elif self.format == "json":
            frame = pd.concat([pd.read_json(file) for file in self.paths], ignore_index=True)
        elif self.format == "csv" and not has("pyarrow"):
            frame = pd.concat([pd.read_csv(file) for file in self.paths], ignore_index=True)
        elif self.format == "parquet" and not has("pyarrow") and has("fastparquet"):
            frame = pd.concat([pd.read_parquet(file, columns=columns) for file in self.paths], ignore_index=True)
        else:
            load("pyarrow", "to_pandas")
            return self.to_arrow(columns).to_pandas()
        return frame[list(columns)] if columns is not None else frame

    def to_polars(self, columns=None, lazy=False):
        """All rows as a `polars.DataFrame`, or with `lazy` as a `polars.LazyFrame` that reads when it is collected."""
        pl = load("polars", "to_polars")
        if self._records is not None:
            frame = pl.DataFrame(self._records, infer_schema_length=None).lazy()
        else:
            parts = [self._polars_scan(pl, root) for root in self._roots]
            frame = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")
        if columns is not None:
            frame = frame.select(list(columns))
        return frame if lazy else frame.collect()

    def batches(self, rows=65_536, frame="arrow", columns=None):
        """The rows piece by piece, none larger than `rows`: as pyarrow's RecordBatches, as frames of pandas or polars, or as
        lists of dicts (`frame="rows"`), so that a data set need not fit into memory.
        """
        if frame not in FRAMES:
            raise ValueError(f"batches: there is no frame {frame!r}; there are {', '.join(FRAMES)}")
        if rows < 1:
            raise ValueError("batches: a batch has at least one row")
        return self._batches(rows, frame, columns)

    def __iter__(self):
        return self.batches()

    def _batches(self, rows, frame, columns):
        if frame == "polars":
            yield from self._slices(rows, columns)
            return
        if self._records is not None or self.format in ("json", "avro"):
            found = self.to_arrow(columns).to_batches(max_chunksize=rows)
        else:
            sources = self._arrow_sources("batches")
            found = (batch for one in sources for batch in one.to_batches(batch_size=rows, columns=columns))
        if frame == "pandas":
            load("pandas", "batches")
        for batch in found:
            if batch.num_rows:
                yield {"arrow": lambda: batch, "pandas": batch.to_pandas, "rows": batch.to_pylist}[frame]()

    def _slices(self, rows, columns):
        pl = load("polars", "batches")
        if self._records is not None:
            yield from self.to_polars(columns).iter_slices(rows)
            return
        for root in self._roots:
            scan = self._polars_scan(pl, root)
            scan = scan if columns is None else scan.select(list(columns))
            at = 0
            while True:
                slice = scan.slice(at, rows).collect()
                if slice.height:
                    yield slice
                if slice.height < rows:
                    break
                at += rows

    def _files(self, root):
        if os.path.isfile(root):
            return [root]
        found = []
        for folder, folders, files in os.walk(root):
            # What begins so is no data: rejected rows, for one.
            folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
            found.extend(os.path.join(folder, name) for name in sorted(files) if not name.startswith((".", "_")))
        if not found:
            raise DataSetGone(self._gone(root))
        return found

    def _gone(self, root):
        if self._task_id is None:
            return f"dataset: there is no file or folder `{root}`, or it is empty"
        return (
            f"dataset: what task `{self._task_id}` has left is not there any more (`{root}`): staging is cleaned some time "
            f"after the end of a run (`data_keep`); clear task `{self._task_id}`, so that it runs again"
        )

    def _arrow_sources(self, use):
        """A `pyarrow.dataset.Dataset` for each root."""
        if self.format not in ARROW_FORMATS:
            raise ValueError(f"{use}: pyarrow cannot read the format {self.format} here; use `paths`, or polars")
        ds = load("pyarrow.dataset", use)
        found = []
        for root in self._roots:
            files = self._files(root)
            partitioning = "hive" if os.path.isdir(root) else None
            source = ds.dataset(
                files, format=ARROW_FORMATS[self.format], partitioning=partitioning, partition_base_dir=root
            )
            found.append(source)
        return found

    def _polars_scan(self, pl, root):
        files = self._files(root)
        if self.format == "parquet":
            hive = any("=" in os.path.relpath(file, root) for file in files)
            return pl.scan_parquet(files, hive_partitioning=hive, glob=False)
        if self.format == "arrow":
            return pl.scan_ipc(files)
        if self.format == "csv":
            return pl.scan_csv(files, glob=False)
        if self.format == "ndjson":
            return pl.scan_ndjson(files)
        read = pl.read_avro if self.format == "avro" else pl.read_json
        return pl.concat([read(file) for file in files]).lazy()

    def _other(self, use):
        """A frame of polars, which reads what pyarrow does not."""
        if not has("polars"):
            raise missing("polars", f"{use} of {self.format}")
        return self.to_polars()

    def __repr__(self):
        what = f"{len(self._records)} rows" if self._records is not None else f"{self.format} {', '.join(self._roots)}"
        return f"<Dataset: {what}>"


def read(ti, source, dag_id, run_id, map_indexes, key):
    """What `ti.dataset` answers."""
    if not isinstance(source, str):
        return Dataset._of_part(source)
    task_id = source if dag_id or run_id else _full_id(source, ti)
    values = api.ask("xcoms", task_id=task_id, dag_id=dag_id, run_id=run_id, key=key, map_index=map_indexes)
    if not values:
        raise AirflowNotFoundException(
            f"dataset: task `{source}` has left no data set in {'that' if run_id or dag_id else 'this'} run; it must have "
            f"run, and `{ti.task_id}` has to depend on it"
        )
    return Dataset._of_values(values, source)


def _full_id(name, ti):
    """In a group the id of a task may be written without the names of its groups."""
    upstream = ti.task.upstream_task_ids
    if name in upstream:
        return name
    near = [task_id for task_id in upstream if task_id.endswith(f".{name}")]
    return max(near, key=lambda task_id: len(os.path.commonprefix([task_id, ti.task_id])), default=name)


def _format_of(path):
    """The format of a file, or of the first one in a folder."""
    if os.path.isdir(path):
        names = (name for _, _, files in os.walk(path) for name in sorted(files) if not name.startswith((".", "_")))
        path = next(names, path)
    found = _format_of_name(path)
    if found is None:
        raise ValueError(f"Dataset: the format of `{path}` cannot be told by its name; give one of {', '.join(FORMATS)}")
    return found


def _format_of_name(path):
    name, suffix = os.path.splitext(path.lower())
    if suffix in COMPRESSED:
        suffix = os.path.splitext(name)[1]
    return SUFFIXES.get(suffix)


def leave(value, draft):
    """Keeps a value that is a data set: what is to be reported, or None for any other value.

    Frames are written by their own library into the folder `draft`; files are named, and Towpath takes them.
    """
    if isinstance(value, os.PathLike) and not isinstance(value, Dataset):
        path = os.path.abspath(os.fspath(value))
        if not isinstance(path, str) or _format_of_name(path) is None or not os.path.isfile(path):
            return None
        value = Dataset(path)
    if isinstance(value, Dataset):
        if value._records is not None:
            return None
        # An error now, where the code is known, is better than one later.
        for root in value._roots:
            value._files(root)
        return {"state": "data_set", "paths": value._roots, "format": value.format}
    write = _writer(value)
    if write is None:
        return None
    os.makedirs(draft)
    write(value, os.path.join(draft, FILE))
    return {"state": "data_set"}


def _writer(value):
    names = {f"{cls.__module__.split('.')[0]}.{cls.__name__}" for cls in type(value).__mro__}
    if "pandas.DataFrame" in names:
        return _write_pandas
    if "polars.DataFrame" in names:
        return lambda frame, path: frame.write_parquet(path)
    if "polars.LazyFrame" in names:
        return lambda frame, path: frame.sink_parquet(path)
    if "pyarrow.Table" in names:
        return _write_table
    if "pyarrow.RecordBatch" in names:
        return lambda batch, path: _write_stream([batch], batch.schema, path)
    if "pyarrow.RecordBatchReader" in names:
        return lambda reader, path: _write_stream(reader, reader.schema, path)
    if names & {"pandas.Series", "polars.Series", "pyarrow.Array", "pyarrow.ChunkedArray"}:
        return None
    if hasattr(type(value), "__arrow_c_stream__"):
        # DuckDB's relations, for example.
        return _write_capsule
    return None


def _write_pandas(frame, path):
    if not has("pyarrow") and not has("fastparquet"):
        raise missing("pyarrow", "a pandas frame, which pandas writes as Parquet,")
    names = frame.index.names
    if any(name is not None for name in names):
        # As after a group-by: names make columns of it.
        unnamed = [level for level, name in enumerate(names) if name is None]
        frame = (frame.reset_index(level=unnamed, drop=True) if unnamed else frame).reset_index()
    frame.to_parquet(path, index=False)


def _write_table(table, path):
    load("pyarrow.parquet", "a pyarrow table").write_table(table, path)


def _write_stream(batches, schema, path):
    with load("pyarrow.parquet", "a stream of Arrow batches").ParquetWriter(path, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _write_capsule(value, path):
    pa = load("pyarrow", f"a {type(value).__name__}, which speaks Arrow,")
    reader = pa.RecordBatchReader.from_stream(value)
    _write_stream(reader, reader.schema, path)
