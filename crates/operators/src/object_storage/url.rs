//! `s3://bucket/path` and the like.

use super::Error;

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    S3,
    Google,
    Azure,
}

/// The schemes of URLs; those behind a first one are how Hadoop and others write the same.
const SCHEMES: &[(&str, Scheme)] = &[
    ("s3", Scheme::S3),
    ("s3a", Scheme::S3),
    ("s3n", Scheme::S3),
    ("gs", Scheme::Google),
    ("gcs", Scheme::Google),
    ("az", Scheme::Azure),
    ("azure", Scheme::Azure),
    ("adl", Scheme::Azure),
    ("abfs", Scheme::Azure),
    ("abfss", Scheme::Azure),
    ("wasb", Scheme::Azure),
    ("wasbs", Scheme::Azure),
];

/// What a URL of a store names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Location {
    pub scheme: Scheme,
    /// As it was written: `s3`.
    pub written: String,
    /// The bucket; with Azure the container.
    pub bucket: String,
    /// The account of Azure, where the URL has it: `abfss://container@account.dfs.core.windows.net/path`.
    pub account: Option<String>,
    /// Names of objects, without a slash at either end; may be empty, or a glob.
    pub path: String,
}

/// Whether a path is a URL of an object store.
#[must_use]
pub fn is_url(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| scheme_of(scheme).is_some())
}

fn scheme_of(written: &str) -> Option<Scheme> {
    SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(written)).map(|(_, scheme)| *scheme)
}

impl Location {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it is none of an object store, or names no bucket.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (written, rest) = url.split_once("://").unwrap_or_default();
        let Some(scheme) = scheme_of(written) else {
            return Err(Error::lasting(format!("`{url}` is no URL of an object store; write s3://, gs:// or az://")));
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, account) = match place.split_once('@') {
            Some((bucket, host)) if scheme == Scheme::Azure => {
                (bucket, host.split('.').next().filter(|account| !account.is_empty()))
            }
            _ => (place, None),
        };
        if bucket.is_empty() || bucket.contains(['*', '?', '[']) {
            let what = if scheme == Scheme::Azure { "container" } else { "bucket" };
            return Err(Error::lasting(format!("`{url}` names no {what}; write {written}://{what}/path")));
        }
        Ok(Self {
            scheme,
            written: written.to_ascii_lowercase(),
            bucket: bucket.to_owned(),
            account: account.map(str::to_owned),
            path: path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"),
        })
    }

    /// The URL of an object of this bucket.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        let Self { written, bucket, account, .. } = self;
        match account {
            Some(account) => format!("{written}://{bucket}@{account}.dfs.core.windows.net/{path}"),
            None => format!("{written}://{bucket}/{path}"),
        }
    }

    /// The URL itself.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.path)
    }

    /// Whether the path is a glob.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.path.contains(['*', '?', '['])
    }
}
