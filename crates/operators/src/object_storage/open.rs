//! From a connection to a store.

use std::sync::Arc;
use std::time::Duration;

use cloud_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use cloud_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use cloud_store::gcp::GoogleCloudStorageBuilder;
use cloud_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde_json::{Map, Value};
use towpath_model::connection::{Connection, Secret};

use super::{Error, Location, Scheme};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence of a server in the middle of an answer; this and the next ones are defaults of `config_kwargs`.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request is tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_RETRIES: usize = 5;

/// The store that `location` names, with the credentials of `connection` or, without one, of the environment.
///
/// # Errors
/// When the connection is of another type, or lacks what the store needs.
pub fn open(location: &Location, connection: Option<&Connection>) -> Result<Arc<dyn ObjectStore>, Error> {
    crate::http::install_crypto();
    let settings = Settings::new(connection)?;
    let opened = match location.scheme {
        Scheme::S3 => s3(location, &settings)?.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        Scheme::Google => google(location, &settings)?.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
        Scheme::Azure => azure(location, &settings)?.build().map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
    };
    opened.map_err(|error| {
        let place = settings.place();
        Error::lasting(format!("`{}` cannot be opened with {place}: {}", location.url(), super::causes(&error)))
    })
}

/// A connection and its extras.
struct Settings<'a> {
    connection: Option<&'a Connection>,
    extra: Map<String, Value>,
}

impl<'a> Settings<'a> {
    fn new(connection: Option<&'a Connection>) -> Result<Self, Error> {
        let extra = match connection {
            Some(connection) => connection.extra_dejson().map_err(|error| Error::lasting(error.to_string()))?,
            None => Map::new(),
        };
        Ok(Self { connection, extra })
    }

    fn place(&self) -> String {
        let id = self.connection.map(|connection| &connection.conn_id);
        id.map_or_else(|| "the environment of the worker".to_owned(), |id| format!("connection `{id}`"))
    }

    /// That the connection is of one of these types.
    fn check(&self, location: &Location, types: &[&str]) -> Result<(), Error> {
        match self.connection {
            Some(connection) if !types.contains(&connection.conn_type.as_str()) => Err(Error::lasting(format!(
                "connection `{}` is of type `{}`, and `{}` needs one of type {}",
                connection.conn_id,
                connection.conn_type,
                location.url(),
                types.join(" or ")
            ))),
            _ => Ok(()),
        }
    }

    /// An extra as text; also under the longer name that older versions of Airflow gave it.
    fn extra(&self, name: &str) -> Option<String> {
        let kind = self.connection.map(|connection| connection.conn_type.as_str()).unwrap_or_default();
        let value = self.extra.get(name).or_else(|| self.extra.get(&format!("extra__{kind}__{name}")))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Some(text).filter(|text| !text.trim().is_empty() && text != "null")
    }

    fn flag(&self, name: &str) -> bool {
        self.extra(name).is_some_and(|text| text.eq_ignore_ascii_case("true") || text == "1")
    }

    fn login(&self) -> Option<&'a str> {
        self.connection?.login.as_deref()
    }

    fn password(&self) -> Option<&'a str> {
        self.connection?.password.as_ref().map(Secret::expose).filter(|text| !text.is_empty())
    }

    /// Refuses extras whose silent loss would open the store as somebody else.
    fn refuse(&self, names: &[(&str, &str)]) -> Result<(), Error> {
        match names.iter().find(|(name, _)| self.extra(name).is_some()) {
            Some((name, instead)) => {
                Err(Error::lasting(format!("{}: the extra `{name}` is not supported; {instead}", self.place())))
            }
            None => Ok(()),
        }
    }

    /// A number of boto's `config_kwargs`, which count for the other stores as well.
    fn config(&self, pointer: &str) -> Option<f64> {
        self.extra.get("config_kwargs")?.pointer(pointer)?.as_f64().filter(|number| *number >= 0.0)
    }

    fn seconds(&self, pointer: &str, default: Duration) -> Duration {
        let seconds = self.config(pointer).and_then(towpath_model::duration::from_seconds);
        seconds.filter(|seconds| !seconds.is_zero()).unwrap_or(default)
    }

    fn retries(&self) -> RetryConfig {
        let max_retries = self.config("/retries/max_attempts").map_or(MAX_RETRIES, |number| number as usize);
        RetryConfig { backoff: BackoffConfig::default(), max_retries, retry_timeout: RETRY_TIMEOUT }
    }

    fn client(&self, endpoint: Option<&str>) -> ClientOptions {
        let verify = self.extra("verify").is_none_or(|text| !text.eq_ignore_ascii_case("false"));
        ClientOptions::new()
            .with_connect_timeout(self.seconds("/connect_timeout", CONNECT_TIMEOUT))
            // A large object takes as long as it takes, as long as something comes.
            .with_timeout_disabled()
            .with_read_timeout(self.seconds("/read_timeout", READ_TIMEOUT))
            .with_allow_http(endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")))
            .with_allow_invalid_certificates(!verify)
    }
}

/// Type `aws`: login and password are the keys, or `aws_access_key_id` and `aws_secret_access_key`; `aws_session_token`, `region_name`,
/// `endpoint_url` (also in `service_config.s3`), `verify`, and `config_kwargs` for the style of addresses.
fn s3(location: &Location, settings: &Settings<'_>) -> Result<AmazonS3Builder, Error> {
    settings.check(location, &["aws", "s3"])?;
    settings.refuse(&[
        ("role_arn", "give the keys of a session, or let the worker run under the role"),
        ("assume_role_method", "give the keys of a session, or let the worker run under the role"),
        ("profile_name", "give the keys themselves"),
    ])?;
    let key = settings.extra("aws_access_key_id").or_else(|| settings.login().map(str::to_owned));
    let secret = settings.extra("aws_secret_access_key").or_else(|| settings.password().map(str::to_owned));
    let of_environment = AmazonS3Builder::from_env();
    let mut builder = match (key, secret) {
        (Some(key), Some(secret)) => {
            // A token of the environment belongs to the keys of the environment.
            let builder = AmazonS3Builder::new().with_access_key_id(key).with_secret_access_key(secret);
            let builder = match settings.extra("aws_session_token") {
                Some(token) => builder.with_token(token),
                None => builder,
            };
            let region = [AmazonS3ConfigKey::Region, AmazonS3ConfigKey::DefaultRegion];
            match region.iter().find_map(|key| of_environment.get_config_value(key)) {
                Some(region) => builder.with_region(region),
                None => builder,
            }
        }
        (None, None) => of_environment,
        _ => {
            return Err(Error::lasting(format!(
                "{} has one of the two keys; set both, as login and password or as `aws_access_key_id` and `aws_secret_access_key`",
                settings.place()
            )));
        }
    };
    let of_service = settings.extra.get("service_config").and_then(|config| config.pointer("/s3/endpoint_url"));
    let endpoint = of_service.and_then(Value::as_str).map(str::to_owned).or_else(|| settings.extra("endpoint_url"));
    let endpoint = endpoint.or_else(|| settings.extra("host"));
    let keys = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
    let used = endpoint.clone().or_else(|| keys.iter().find_map(|key| builder.get_config_value(key)));
    builder = builder.with_bucket_name(&location.bucket).with_retry(settings.retries());
    builder = builder.with_client_options(settings.client(used.as_deref()));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = settings.extra("region_name") {
        builder = builder.with_region(region);
    }
    let style = settings.extra.get("config_kwargs").and_then(|config| config.pointer("/s3/addressing_style"));
    match style.and_then(Value::as_str) {
        Some("virtual") => builder = builder.with_virtual_hosted_style_request(true),
        Some("path") => builder = builder.with_virtual_hosted_style_request(false),
        _ => {}
    }
    let unsigned = settings.extra.get("config_kwargs").and_then(|config| config.get("signature_version"));
    if unsigned.and_then(Value::as_str) == Some("unsigned") || settings.flag("anonymous") {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder)
}

/// Type `google_cloud_platform`: `keyfile_dict` or `key_path`, the key of a service account; `is_anonymous` for public buckets;
/// `endpoint_url` for stand-ins.
fn google(location: &Location, settings: &Settings<'_>) -> Result<GoogleCloudStorageBuilder, Error> {
    settings.check(location, &["google_cloud_platform", "gcpssh", "gs", "gcs"])?;
    settings.refuse(&[
        ("key_secret_name", "give the key itself as `keyfile_dict`"),
        ("credential_config_file", "give the key of a service account as `keyfile_dict` or `key_path`"),
        ("impersonation_chain", "give the key of the account itself"),
    ])?;
    let endpoint = settings.extra("endpoint_url");
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&location.bucket)
        .with_retry(settings.retries())
        .with_client_options(settings.client(endpoint.as_deref()));
    if let Some(endpoint) = &endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    if let Some(key) = settings.extra("keyfile_dict") {
        builder = builder.with_service_account_key(key);
    } else if let Some(path) = settings.extra("key_path") {
        builder = builder.with_service_account_path(path);
    } else if settings.flag("is_anonymous") {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder)
}

/// Type `wasb` (or `adls`): login is the account and password its key; or `tenant_id` with the id of a client as login and its secret as
/// password; or `sas_token`; or `connection_string`. The host, if there is one, is the URL of the account.
fn azure(location: &Location, settings: &Settings<'_>) -> Result<MicrosoftAzureBuilder, Error> {
    settings.check(location, &["wasb", "adls", "azure", "abfs", "abfss", "azure_data_lake"])?;
    let of_string = settings.extra("connection_string");
    let part = |name: &str| {
        let text = of_string.as_deref()?;
        text.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    };
    let host = settings.connection.and_then(|connection| connection.host.clone());
    let host = host.or_else(|| settings.extra("account_url")).or_else(|| part("BlobEndpoint"));
    let host = host.filter(|host| !host.is_empty());
    let of_host = host.as_deref().map(|host| host.split("://").last().unwrap_or(host));
    let of_host = of_host.filter(|host| host.contains(".core.")).and_then(|host| host.split('.').next());
    let tenant = settings.extra("tenant_id");
    let account = location.account.clone().or_else(|| settings.extra("account_name")).or_else(|| part("AccountName"));
    let account = account.or_else(|| of_host.map(str::to_owned));
    // With a tenant the login is the id of a client.
    let login = settings.login().map(str::to_owned);
    let account = account.or_else(|| login.clone().filter(|_| tenant.is_none()));
    let endpoint = host.filter(|host| host.contains("://") && !host.contains(".core."));
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&location.bucket)
        .with_retry(settings.retries())
        .with_client_options(settings.client(endpoint.as_deref()));
    if let Some(endpoint) = endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://")).with_endpoint(endpoint);
    }
    let is_known = account.is_some() || builder.get_config_value(&AzureConfigKey::AccountName).is_some();
    if !is_known {
        return Err(Error::lasting(format!(
            "`{}`: nothing names the account; write abfss://container@account.dfs.core.windows.net/path, or make it the login of a \
             connection of type wasb",
            location.url()
        )));
    }
    if let Some(account) = account {
        builder = builder.with_account(account);
    }
    let key = settings.extra("shared_access_key").or_else(|| part("AccountKey"));
    let key = key.or_else(|| settings.password().map(str::to_owned));
    if let (Some(tenant), Some(client), Some(secret)) = (tenant, login, settings.password()) {
        builder = builder.with_client_secret_authorization(client, secret, tenant);
    } else if let Some(token) = settings.extra("sas_token") {
        builder = builder.with_config(AzureConfigKey::SasKey, token.trim_start_matches('?'));
    } else if let Some(key) = key {
        builder = builder.with_access_key(key);
    }
    Ok(builder)
}
