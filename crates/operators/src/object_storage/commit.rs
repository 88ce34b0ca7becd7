//! What a load of several objects says while it changes a folder.
//!
//! A store replaces one object at a time, and a load has many. While it goes from the old ones to the new ones a small object in the
//! folder says which is which; whoever lists a folder by [`super::find`] sees the old ones until it says `switched`, and then the new
//! ones. Other programs see all that is there. The object is gone when the load is done.

use cloud_store::path::Path;
use cloud_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};

/// How the names of such objects begin.
pub const MARK: &str = "_towpath-commit-";

/// What is being changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Commit {
    /// Who does it: a later try of the same task ends what an earlier one has begun.
    pub owner: String,
    /// The names of the objects that are put.
    pub new: Vec<String>,
    /// The names of those that go.
    pub old: Vec<String>,
    /// The new ones count.
    pub switched: bool,
}

impl Commit {
    /// The names that are not to be seen.
    pub fn hidden(&self) -> impl Iterator<Item = &str> {
        if self.switched { &self.old } else { &self.new }.iter().map(String::as_str)
    }

    /// Whether an object is one that says this.
    #[must_use]
    pub fn is_mark(name: &Path) -> bool {
        name.filename().is_some_and(|name| name.starts_with(MARK))
    }

    /// What an object says; `None` where it is gone. One that says nothing of this kind hides nothing.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read(store: &dyn ObjectStore, mark: &ObjectMeta) -> Result<Option<Self>, cloud_store::Error> {
        let found = match store.get(&mark.location).await {
            Ok(found) => found.bytes().await?,
            Err(cloud_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(serde_json::from_slice(&found).unwrap_or_default()))
    }
}
