use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Decimal128Array, Float32Array, Float64Array, Int64Array, ListArray, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::parquet::arrow::ArrowWriter;
use serde_json::json;

use super::*;

const OWNER: Owner<'_> = Owner { dag_id: "d", task_id: "t" };
const SOME: Bounds = Bounds { rows: 3, bytes: 1 << 20, cell_chars: 10, columns: 50 };

/// A staging area with a data set in it.
struct Staged {
    folder: tempfile::TempDir,
    set: PathBuf,
}

impl Staged {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let set = staging::task_folder(folder.path(), "d", "r", "t", -1).join("try-1-x");
        std::fs::create_dir_all(&set).unwrap();
        Self { folder, set }
    }

    fn write(&self, file: &str, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = self.set.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn manifest(&self, rejects: Option<u64>) -> Manifest {
        let location = self.set.display().to_string();
        let rejects = rejects.map(|rows| json!({"location": self.set.join("_rejects"), "rows": rows}));
        let mut manifest = json!({
            "location": location, "format": "parquet", "rows": 7, "bytes": 1, "files": 1,
            "schema": [{"name": "n", "type": "int64"}, {"name": "s", "type": "string"}],
        });
        manifest["rejects"] = rejects.into();
        serde_json::from_value(manifest).unwrap()
    }

    fn inspector(&self) -> Inspector {
        Inspector { staging: self.folder.path().to_owned() }
    }
}

fn numbers(values: Vec<i64>) -> ArrayRef {
    Arc::new(Int64Array::from(values))
}

#[test]
fn the_head_ends_where_the_bounds_are() {
    let staged = Staged::new();
    let words = |words: Vec<&str>| Arc::new(StringArray::from(words)) as ArrayRef;
    staged.write("part-00000.parquet", vec![("n", numbers(vec![1, 2])), ("s", words(vec!["a", "0123456789ä"]))]);
    staged.write("part-00001.parquet", vec![("n", numbers(vec![3, 4])), ("x", words(vec!["b", "c"]))]);
    staged.write("_rejects/part-00000.parquet", vec![("n", numbers(vec![9]))]);
    let head = staged.inspector().head(OWNER, &staged.manifest(None), &SOME).unwrap();
    let names: Vec<&str> = head.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["n", "s", "x"]);
    assert_eq!(
        head.rows,
        [
            vec![json!(1), json!("a"), json!(null)],
            vec![json!(2), json!("0123456789…"), json!(null)],
            vec![json!(3), json!(null), json!("b")]
        ]
    );
    assert_eq!((head.total_rows, head.values_cut, head.columns_left), (7, 1, 0));
    assert_eq!(head.objects()[0]["s"], json!("a"));
    for (bounds, rows, columns) in [
        (Bounds { rows: 0, ..SOME }, 0, 2),
        (Bounds { rows: 2, ..SOME }, 2, 2),
        (Bounds { rows: 100, ..SOME }, 4, 3),
        (Bounds { bytes: 1, ..SOME }, 1, 2),
        (Bounds { columns: 1, ..SOME }, 3, 1),
    ] {
        let head = staged.inspector().head(OWNER, &staged.manifest(None), &bounds).unwrap();
        assert_eq!((head.rows.len(), head.columns.len()), (rows, columns), "{bounds:?}");
    }
}

#[test]
fn rejects_keep_the_rules_they_broke() {
    let staged = Staged::new();
    let rule: ArrayRef = Arc::new(StringArray::from(vec!["n: ge 0"]));
    staged.write(
        "_rejects/part-00000.parquet",
        vec![("n", numbers(vec![-1])), ("m", numbers(vec![1])), ("_rejected_by", rule)],
    );
    let bounds = Bounds { columns: 2, ..SOME };
    let rejects = staged.inspector().rejects(OWNER, &staged.manifest(Some(1)), &bounds).unwrap();
    assert_eq!(rejects.rows, [[json!(-1), json!("n: ge 0")]]);
    assert_eq!((rejects.total_rows, rejects.columns_left), (1, 1));
    let none = staged.inspector().rejects(OWNER, &staged.manifest(None), &bounds).unwrap();
    assert_eq!(none, Rows::default());
}

#[test]
fn values_are_what_json_has_for_them() {
    let fields = vec![
        (Arc::new(Field::new("a", DataType::Int64, true)), numbers(vec![1])),
        (Arc::new(Field::new("b", DataType::Int64, true)), numbers(vec![2])),
    ];
    let long: Vec<Option<i32>> = (0..300).map(Some).collect();
    let cases: Vec<(ArrayRef, Value)> = vec![
        (numbers(vec![i64::MAX]), json!(i64::MAX)),
        (Arc::new(Float64Array::from(vec![f64::NAN])), json!("NaN")),
        (Arc::new(Float64Array::from(vec![f64::NEG_INFINITY])), json!("-inf")),
        (Arc::new(Float32Array::from(vec![0.1])), json!(0.1)),
        (Arc::new(Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap()), json!("123.45")),
        (Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]])), json!("00ff")),
        (Arc::new(TimestampMicrosecondArray::from(vec![0])), json!("1970-01-01T00:00:00")),
        (Arc::new(StructArray::from(fields)), json!({"a": 1, "b": 2})),
        (Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])])), json!([1, null])),
        (Arc::new(StringArray::from(vec![None::<&str>])), json!(null)),
    ];
    for (array, expected) in cases {
        assert_eq!(Cells::new(30).value(&array, 0), expected);
    }
    let mut cells = Cells::new(8);
    let long: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(long)]));
    assert_eq!(cells.value(&long, 0), json!("[0,1,2,3…"));
    assert_eq!(cells.cut, 1);
}

#[test]
fn what_is_not_there_is_told() {
    let staged = Staged::new();
    let inspector = staged.inspector();
    let tell = |manifest: &Manifest| inspector.head(OWNER, manifest, &SOME).unwrap_err().to_string();
    let mut manifest = staged.manifest(None);
    assert!(tell(&manifest).contains("has no files any more"));
    std::fs::write(staged.set.join("part-00000.parquet"), "PAR1").unwrap();
    assert!(tell(&manifest).contains("cannot be read: `"), "{}", tell(&manifest));
    std::fs::remove_dir_all(&staged.set).unwrap();
    assert!(tell(&manifest).contains("clear task `t`, so that it runs again"), "{}", tell(&manifest));
    assert!(matches!(inspector.head(OWNER, &manifest, &SOME), Err(Trouble::Cleaned { .. })));
    // The columns are known still.
    let columns = inspector.columns(OWNER, &manifest).unwrap();
    assert_eq!((columns[0].sql.as_str(), columns[0].nullable), ("BIGINT", None));
    for elsewhere in ["/etc", "/nowhere", staged.folder.path().to_str().unwrap()] {
        manifest.location = elsewhere.to_owned();
        assert!(matches!(inspector.head(OWNER, &manifest, &SOME), Err(Trouble::Elsewhere { .. })), "{elsewhere}");
        assert!(matches!(inspector.columns(OWNER, &manifest), Err(Trouble::Elsewhere { .. })), "{elsewhere}");
    }
}

/// Who may see a DAG sees no data of others.
#[test]
fn data_of_other_dags_is_not_read() {
    let staged = Staged::new();
    staged.write("part-00000.parquet", vec![("n", numbers(vec![1]))]);
    let other = Owner { dag_id: "other", ..OWNER };
    std::fs::create_dir_all(staging::dag_folder(staged.folder.path(), "other")).unwrap();
    let found = staged.inspector().head(other, &staged.manifest(None), &SOME);
    assert!(matches!(found, Err(Trouble::Elsewhere { .. })), "{found:?}");
    let mut manifest = staged.manifest(None);
    let own = staging::dag_folder(staged.folder.path(), "other");
    manifest.location = own.join("../d/r/t/try-1-x").display().to_string();
    let found = staged.inspector().head(other, &manifest, &SOME);
    assert!(matches!(found, Err(Trouble::Elsewhere { .. })), "{found:?}");
}
