//! Style, script and icon: in the binary, under addresses that change with their content, so that
//! browsers may keep them for ever.

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

const ASSETS: [Asset; 3] = [
    Asset {
        name: "towpath.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("../../../web/assets/towpath.css"),
    },
    Asset {
        name: "towpath.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("../../../web/assets/towpath.js"),
    },
    Asset {
        name: "towpath.svg",
        content_type: "image/svg+xml",
        content: include_str!("../../../web/assets/towpath.svg"),
    },
];

static HASHES: LazyLock<[String; 3]> =
    LazyLock::new(|| ASSETS.each_ref().map(|asset| blake3::hash(asset.content.as_bytes()).to_hex()[..16].to_owned()));

/// Addresses of the assets.
#[derive(Debug, Clone)]
pub(crate) struct Urls {
    pub(crate) css: String,
    pub(crate) js: String,
    pub(crate) icon: String,
}

impl Urls {
    pub(crate) fn get() -> Self {
        let url = |index: usize| format!("/assets/{}/{}", HASHES[index], ASSETS[index].name);
        Self { css: url(0), js: url(1), icon: url(2) }
    }
}

pub(crate) async fn get(Path((hash, name)): Path<(String, String)>) -> Result<Response> {
    let index = ASSETS.iter().position(|asset| asset.name == name).ok_or_else(|| Error::no_such("asset", &name))?;
    // A page of another version may ask while servers are replaced; what it gets it must not keep.
    let cache = if HASHES[index] == hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(ASSETS[index].content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    Ok((headers, ASSETS[index].content).into_response())
}
