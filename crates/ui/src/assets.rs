//! Styles, scripts and pictures: in the binary, under an address that changes with their content, so
//! that browsers may keep them for ever. All share one folder, so that scripts import each other
//! and the style finds the glyphs by relative names.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::{Error, Result};

struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! asset {
    ($name:literal, $content_type:expr) => {
        Asset {
            name: $name,
            content_type: $content_type,
            content: include_str!(concat!("../../../web/assets/", $name)),
        }
    };
}

const ASSETS: [Asset; 15] = [
    asset!("towpath.css", CSS),
    asset!("views.css", CSS),
    asset!("theme.js", JS),
    asset!("towpath.js", JS),
    asset!("forms.js", JS),
    asset!("graph.js", JS),
    asset!("grid.js", JS),
    asset!("live.js", JS),
    asset!("log.js", JS),
    asset!("palette.js", JS),
    asset!("panel.js", JS),
    asset!("search.js", JS),
    asset!("zone.js", JS),
    asset!("towpath.svg", SVG),
    asset!("glyphs.svg", SVG),
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for asset in &ASSETS {
        hasher.update(asset.name.as_bytes()).update(&[0]).update(asset.content.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
});

/// Addresses of the assets that pages name.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) css: String,
    /// The style of charts, grids and logs.
    pub(crate) views: String,
    /// Runs before the first paint.
    pub(crate) theme: String,
    /// The first of the modules.
    pub(crate) js: String,
    pub(crate) icon: String,
}

impl Urls {
    pub(crate) fn get() -> Self {
        let url = |name: &str| format!("/assets/{}/{name}", *HASH);
        Self {
            css: url("towpath.css"),
            views: url("views.css"),
            theme: url("theme.js"),
            js: url("towpath.js"),
            icon: url("towpath.svg"),
        }
    }
}

pub(crate) async fn get(Path((hash, name)): Path<(String, String)>) -> Result<Response> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| Error::no_such("asset", &name))?;
    // A page of another version may ask while servers are replaced; what it gets it must not keep.
    let cache = if *HASH == hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, asset.content).into_response())
}
