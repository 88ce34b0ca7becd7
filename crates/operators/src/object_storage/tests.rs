use cloud_store::ObjectStoreExt as _;
use cloud_store::memory::InMemory;
use cloud_store::path::Path;
use serde_json::json;
use towpath_model::connection::Connection;

use super::*;

fn location(url: &str) -> Location {
    Location::parse(url).expect("a URL")
}

#[test]
fn urls_are_told_apart() {
    for (url, expected) in [
        ("s3://lake/a//b/", Some((Scheme::S3, "lake", None, "a/b"))),
        ("S3A://lake", Some((Scheme::S3, "lake", None, ""))),
        ("gs://lake/x y.csv", Some((Scheme::Google, "lake", None, "x y.csv"))),
        ("az://box/a", Some((Scheme::Azure, "box", None, "a"))),
        ("abfss://box@acc.dfs.core.windows.net/a/b.csv", Some((Scheme::Azure, "box", Some("acc"), "a/b.csv"))),
        ("s3:///a", None),
        ("s3://*/a", None),
        ("https://host/a", None),
    ] {
        let found = Location::parse(url).ok();
        let found = found.as_ref().map(|found| (found.scheme, &*found.bucket, found.account.as_deref(), &*found.path));
        assert_eq!(found, expected, "{url}");
    }
    assert!(
        is_url("s3://x") && is_url("ABFSS://x") && !is_url("/s3:/x") && !is_url("http://x") && !is_url("data/*.csv")
    );
    let written = location("abfss://box@acc.dfs.core.windows.net/a");
    assert_eq!(written.url_of("b"), "abfss://box@acc.dfs.core.windows.net/b");
}

#[test]
fn what_stores_say_is_told_with_the_place() {
    let told = |error: cloud_store::Error| Error::of_store("s3://b/x", &error).message;
    let source = |text: &str| Box::<dyn std::error::Error + Send + Sync>::from(text.to_owned());
    let generic = source("Error performing GET http://127.0.0.1:1/b?list in 2ms, after 5 retries: refused");
    assert_eq!(
        told(cloud_store::Error::Generic { store: "S3", source: generic }),
        "`s3://b/x` cannot be used: Error performing GET http://127.0.0.1:1/b?list in 2ms, after 5 retries: refused (asked \
         http://127.0.0.1:1)"
    );
    let missing = |text: &str| cloud_store::Error::NotFound { path: "x".to_owned(), source: source(text) };
    assert_eq!(told(missing("404: <Code>NoSuchBucket</Code>")), "`s3://b/x`: there is no such bucket");
    assert_eq!(told(missing("404")), "`s3://b/x` does not exist");
    let listed = |text: &str| cloud_store::Error::Generic { store: "S3", source: source(text) };
    assert_eq!(told(listed("404: <Code>NoSuchBucket</Code>")), "`s3://b/x`: there is no such bucket");
    assert_eq!(
        told(listed("500: <Error><Message>We are sorry.</Message></Error>")),
        "`s3://b/x` cannot be used: We are sorry"
    );
    assert_eq!(
        told(listed("403 Forbidden: <Message>The key does not exist</Message>")),
        "`s3://b/x`: the credentials are not accepted: The key does not exist; name a connection that may (`connection`), or \
         set the credentials in the environment of the worker"
    );
    let denied = cloud_store::Error::PermissionDenied { path: "x".to_owned(), source: source("403") };
    assert_eq!(
        told(denied),
        "`s3://b/x`: the credentials may not do that; name a connection that may (`connection`), or set the credentials in the \
         environment of the worker"
    );
}

#[tokio::test]
async fn objects_folders_and_globs() {
    let store = InMemory::new();
    for name in [
        "in/2026/01/x.csv",
        "in/2026/02/y.csv",
        "in/_tmp/z.csv",
        "in/.h.csv",
        "inner.csv",
        "odd/one*two",
        "p/k=a%2Fb/1.csv",
    ] {
        store.put(&Path::parse(name).expect("a path"), "text".into()).await.expect("put");
    }
    for (path, expected) in [
        ("inner.csv", vec![("inner.csv", "")]),
        ("in", vec![("in/2026/01/x.csv", "2026/01/x.csv"), ("in/2026/02/y.csv", "2026/02/y.csv")]),
        ("in/2026/*/x.csv", vec![("in/2026/01/x.csv", "")]),
        ("in/*.csv", vec![]),
        ("in/**/*.csv", vec![("in/2026/01/x.csv", ""), ("in/2026/02/y.csv", "")]),
        ("*/2026", vec![("in/2026/01/x.csv", "01/x.csv"), ("in/2026/02/y.csv", "02/y.csv")]),
        ("**/y.csv", vec![("in/2026/02/y.csv", "")]),
        ("in/**", vec![("in/2026/01/x.csv", "2026/01/x.csv"), ("in/2026/02/y.csv", "2026/02/y.csv")]),
        ("odd/one[*]two", vec![("odd/one*two", "")]),
        ("p", vec![("p/k=a%2Fb/1.csv", "k=a%2Fb/1.csv")]),
        ("none", vec![]),
    ] {
        let found = find(&store, &location(&format!("s3://lake/{path}"))).await.expect("a listing");
        let found: Vec<(&str, &str)> =
            found.iter().map(|found| (found.meta.location.as_ref(), &*found.below)).collect();
        assert_eq!(found, expected, "{path}");
        let one = first(&store, &location(&format!("s3://lake/{path}"))).await.expect("a listing");
        assert_eq!(one.is_some(), !expected.is_empty(), "{path}");
    }
    let error = find(&store, &location("s3://lake/x[")).await.expect_err("no glob");
    assert_eq!(error.message, "`s3://lake/x[` is not a glob: invalid range pattern");
}

/// A connection by its fields.
fn connection(fields: &serde_json::Value) -> Connection {
    Connection::from_json("lake", &fields.to_string()).expect("a connection")
}

#[test]
fn connections_open_their_stores() {
    for (url, fields, expected) in [
        (
            "s3://b/x",
            json!({"conn_type": "aws", "login": "id", "password": "secret", "extra": {"region_name": "eu-west-1"}}),
            Ok(()),
        ),
        (
            "s3://b/x",
            json!({"conn_type": "aws", "extra": {"aws_access_key_id": "id", "aws_secret_access_key": "s", "endpoint_url": "http://127.0.0.1:9"}}),
            Ok(()),
        ),
        (
            "s3://b/x",
            json!({"conn_type": "aws", "login": "id"}),
            Err(
                "connection `lake` has one of the two keys; set both, as login and password or as `aws_access_key_id` and `aws_secret_access_key`",
            ),
        ),
        (
            "s3://b/x",
            json!({"conn_type": "aws", "extra": {"role_arn": "arn:aws:iam::1:role/x"}}),
            Err(
                "connection `lake`: the extra `role_arn` is not supported; give the keys of a session, or let the worker run under the role",
            ),
        ),
        (
            "s3://b/x",
            json!({"conn_type": "postgres"}),
            Err("connection `lake` is of type `postgres`, and `s3://b/x` needs one of type aws or s3"),
        ),
        ("gs://b/x", json!({"conn_type": "google_cloud_platform", "extra": {"is_anonymous": true}}), Ok(())),
        (
            "gs://b/x",
            json!({"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": {"type": "service_account"}}}),
            Err(""),
        ),
        ("az://c/x", json!({"conn_type": "wasb", "login": "acc", "password": "a2V5"}), Ok(())),
        (
            "abfss://c@acc.dfs.core.windows.net/x",
            json!({"conn_type": "wasb", "extra": {"sas_token": "?sv=1&sig=x"}}),
            Ok(()),
        ),
        (
            "az://c/x",
            json!({"conn_type": "wasb", "login": "client", "password": "s", "host": "https://acc.blob.core.windows.net", "extra": {"tenant_id": "t"}}),
            Ok(()),
        ),
        (
            "az://c/x",
            json!({"conn_type": "wasb", "extra": {"connection_string": "AccountName=acc;AccountKey=a2V5ZQ==;EndpointSuffix=core.windows.net"}}),
            Ok(()),
        ),
        (
            "az://c/x",
            json!({"conn_type": "wasb", "password": "a2V5"}),
            Err(
                "`az://c/x`: nothing names the account; write abfss://container@account.dfs.core.windows.net/path, or make it the login of a connection of type wasb",
            ),
        ),
    ] {
        let opened = open(&location(url), Some(&connection(&fields))).map(drop).map_err(|error| error.message);
        match (opened, expected) {
            (Err(found), Err("")) => {
                assert!(found.starts_with("`gs://b/x` cannot be opened with connection `lake`: "), "{found}");
            }
            (found, expected) => assert_eq!(found, expected.map_err(str::to_owned), "{url} {fields}"),
        }
    }
}
