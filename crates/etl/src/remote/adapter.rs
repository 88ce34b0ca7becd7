//! A store as DataFusion reads one.
//!
//! DataFusion has its own version of `object_store`, without the clients of stores. This hands its requests on; it only reads.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as Failure, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use towpath_operators::object_storage::{self, store as cloud};

use crate::error::Error;

/// A store that is read.
#[derive(Debug)]
pub(super) struct Readable {
    store: Arc<dyn cloud::ObjectStore>,
    /// What stands before the names of objects in their URLs.
    base: String,
}

impl Readable {
    /// `url` is that of the object `path`.
    pub(super) fn new(store: Arc<dyn cloud::ObjectStore>, url: &str, path: &str) -> Self {
        Self { store, base: url.strip_suffix(path).unwrap_or(url).to_owned() }
    }

    fn failed(&self, path: &str, error: &cloud::Error) -> Failure {
        let error = Error::from(object_storage::Error::of_store(&format!("{}{path}", self.base), error));
        Failure::Generic { store: "object store", source: Box::new(error) }
    }

    fn refused(&self, what: &str) -> Failure {
        Failure::NotSupported { source: format!("{what} `{}`, which is only read", self.base).into() }
    }
}

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

fn path(path: &Path) -> Result<cloud::path::Path> {
    let wrong = |error: cloud::path::Error| Failure::Generic { store: "object store", source: Box::new(error) };
    cloud::path::Path::parse(path.as_ref()).map_err(wrong)
}

fn meta(meta: cloud::ObjectMeta) -> Result<ObjectMeta> {
    let cloud::ObjectMeta { location, last_modified, size, e_tag, version } = meta;
    Ok(ObjectMeta { location: Path::parse(location.as_ref())?, last_modified, size, e_tag, version })
}

#[async_trait]
impl ObjectStore for Readable {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(self.refused("an object cannot be put into"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(self.refused("an object cannot be put into"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let name = location.as_ref().to_owned();
        let wanted = cloud::GetOptions {
            if_match: options.if_match,
            if_none_match: options.if_none_match,
            if_modified_since: options.if_modified_since,
            if_unmodified_since: options.if_unmodified_since,
            range: options.range.map(|range| match range {
                GetRange::Bounded(range) => cloud::GetRange::Bounded(range),
                GetRange::Offset(from) => cloud::GetRange::Offset(from),
                GetRange::Suffix(count) => cloud::GetRange::Suffix(count),
            }),
            version: options.version,
            head: options.head,
            ..cloud::GetOptions::default()
        };
        let found = self.store.get_opts(&path(location)?, wanted).await;
        let found = found.map_err(|error| self.failed(&name, &error))?;
        let (meta, range) = (meta(found.meta.clone())?, found.range.clone());
        let base = self.base.clone();
        let bytes = found.into_stream().map_err(move |error| {
            let error = Error::from(object_storage::Error::of_store(&format!("{base}{name}"), &error));
            Failure::Generic { store: "object store", source: Box::new(error) }
        });
        let payload = GetResultPayload::Stream(bytes.boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let found = self.store.get_ranges(&path(location)?, ranges).await;
        found.map_err(|error| self.failed(location.as_ref(), &error))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let refused = self.refused("nothing is deleted in");
        futures::stream::once(async move { Err(refused) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = match prefix.map(path).transpose() {
            Ok(prefix) => prefix,
            Err(error) => return futures::stream::once(async move { Err(error) }).boxed(),
        };
        let base = self.base.clone();
        let listed = self.store.list(prefix.as_ref()).map(move |found| match found {
            Ok(found) => meta(found),
            Err(error) => {
                let error = Error::from(object_storage::Error::of_store(&base, &error));
                Err(Failure::Generic { store: "object store", source: Box::new(error) })
            }
        });
        listed.boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(self.refused("folders are not listed in"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(self.refused("nothing is copied in"))
    }
}
