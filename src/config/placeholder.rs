//! Stand-ins for the settings of other rooms, until those exist.
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::SecretString;

pub mod amqp {
    use super::*;
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct Settings {
        #[schemars(with = "Option<String>")]
        pub url: Option<SecretString>,
        pub url_file: Option<PathBuf>,
        pub queue: String,
        pub queue_type: QueueType,
        pub declare: bool,
        pub dead_letter_queue: Option<String>,
        pub prefetch: u16,
        pub ca_file: Option<PathBuf>,
        pub cert_file: Option<PathBuf>,
        pub key_file: Option<PathBuf>,
    }
    #[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum QueueType {
        #[default]
        Quorum,
        Classic,
    }
    impl Default for Settings {
        fn default() -> Self {
            Self {
                url: None,
                url_file: None,
                queue: "scan.requests".into(),
                queue_type: QueueType::Quorum,
                declare: true,
                dead_letter_queue: None,
                prefetch: 256,
                ca_file: None,
                cert_file: None,
                key_file: None,
            }
        }
    }
}
