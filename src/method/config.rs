//! The section `[posterior]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::{Approach, Method, Settings};
use crate::model::{EncoderConfig, HiddenStates};
use crate::posterior::LinkChoice;

/// Settings of the posterior and of its method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosteriorConfig {
    /// How the posterior is approximated.
    pub method: Settings,
    /// How probabilities of more than two classes come from a Gaussian over the logits; two classes
    /// are always exact.
    pub link: LinkChoice,
    /// Hidden states whose means the last layer reads beside the feature, numbered as in transformers: 0 is the
    /// output of the embeddings, 1 that of the first layer. For `map`, `laplace`, `sngp` and `vbll`.
    pub feature_layers: HiddenStates,
}

/// The keys that every method has, or several.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Shared {
    method: Method,
    link: LinkChoice,
    feature_layers: HiddenStates,
}

/// As they are written.
const SHARED: [&str; 3] = ["method", "link", FEATURE_LAYERS];
const FEATURE_LAYERS: &str = "feature_layers";

impl Default for PosteriorConfig {
    fn default() -> Self {
        Method::default().into()
    }
}

impl From<Method> for PosteriorConfig {
    /// With the usual values.
    fn from(method: Method) -> Self {
        let usual = method.read(Table::new()).expect("every key has a usual value");
        let (link, feature_layers) = (LinkChoice::default(), HiddenStates::default());
        Self { method: usual, link, feature_layers }
    }
}

impl PosteriorConfig {
    pub fn name(&self) -> Method {
        self.method.method()
    }

    /// What the method does with its settings.
    pub fn approach(&self) -> &dyn Approach {
        self.method.approach()
    }

    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if !self.feature_layers.is_empty() && !self.approach().needs().hidden_states {
            return Err(format!(
                "`posterior.feature_layers` is not for the method `{}`, whose last layer reads the \
                 feature alone; remove it, or use `laplace`, `map`, `sngp` or `vbll`",
                self.name().name()
            ));
        }
        self.approach().check()
    }

    /// Why an encoder does not do.
    pub fn check_encoder(&self, encoder: &EncoderConfig) -> Result<(), String> {
        let fits = self.feature_layers.check(encoder.num_hidden_layers);
        fits.map_err(|message| format!("`posterior.feature_layers`: {message}"))?;
        self.approach().check_encoder(encoder)
    }

    /// Whether it is fitted on the features of the training rows.
    pub fn reads_training_rows(&self) -> bool {
        self.approach().needs().training_features || !self.feature_layers.is_empty()
    }

    /// Whether a layer predicts that no other tool has, so that the last layer cannot be kept.
    pub fn has_own_layer(&self) -> bool {
        self.approach().needs().own_layer || !self.feature_layers.is_empty()
    }

    /// From the keys of the section. A key of another method may have the value that it has there unless it
    /// is set: files of earlier versions hold those.
    fn read(mut table: Table) -> Result<Self, String> {
        let shared = SHARED.iter().filter_map(|&name| table.remove_entry(name)).collect::<Table>();
        let Shared { method, link, feature_layers } =
            shared.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        let own = Self::from(method).method.keys();
        for &other in Method::ALL {
            for (key, usual) in Self::from(other).method.keys() {
                let Some(value) = table.get(&key).filter(|_| !own.contains_key(&key)) else {
                    continue;
                };
                if *value != usual {
                    return Err(format!(
                        "`posterior.{key}` applies to the method `{}`, but the method is `{}`; \
                         remove it",
                        other.name(),
                        method.name()
                    ));
                }
                table.remove(&key);
            }
        }
        Ok(Self { method: method.read(table)?, link, feature_layers })
    }

    /// The keys of all methods, with the values that they have unless they are set.
    pub fn keys() -> Vec<(String, Value)> {
        let of = |&method: &Method| Self::from(method).method.keys();
        Method::ALL.iter().flat_map(of).collect()
    }
}

impl Method {
    /// Whether a key of `[posterior]` is for this method.
    pub fn reads(self, key: &str) -> bool {
        let usual = PosteriorConfig::from(self);
        let own = match key {
            "link" => true,
            FEATURE_LAYERS => usual.approach().needs().hidden_states,
            _ => false,
        };
        own || usual.method.keys().contains_key(key)
    }
}

impl Serialize for PosteriorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { link, feature_layers, .. } = *self;
        let shared = Shared { method: self.name(), link, feature_layers };
        let mut table = Table::try_from(shared).expect("settings are plain data");
        if feature_layers.is_empty() && !self.name().reads(FEATURE_LAYERS) {
            table.remove(FEATURE_LAYERS);
        }
        table.extend(self.method.keys());
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PosteriorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Table::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posterior::Passes;

    fn read(text: &str) -> Result<PosteriorConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_again_with_the_keys_of_its_method_alone() {
        for &method in Method::ALL {
            let config = PosteriorConfig::from(method);
            let text = toml::to_string(&config).unwrap();
            assert_eq!(read(&text).unwrap(), config);
            let json = serde_json::to_value(config).unwrap();
            assert_eq!(serde_json::from_value::<PosteriorConfig>(json.clone()).unwrap(), config);
            let keys = json.as_object().unwrap().keys();
            assert!(keys.into_iter().all(|key| key == "method" || method.reads(key)), "{json}");
        }
        assert_eq!(read("").unwrap(), PosteriorConfig::default());
    }

    #[test]
    fn hidden_states_are_for_the_methods_that_read_them() {
        let config = read("method = \"vbll\"\nfeature_layers = [5, 4]").unwrap();
        assert_eq!(config.feature_layers, HiddenStates::new([4, 5]).unwrap());
        assert!(config.check().is_ok() && config.has_own_layer());
        let refused = read("method = \"swag\"\nfeature_layers = [4]").unwrap().check();
        assert!(refused.unwrap_err().contains("is not for the method `swag`"));
        assert!(read("method = \"swag\"\nfeature_layers = []").unwrap().check().is_ok());
        assert!(read("feature_layers = [4, 4]").unwrap_err().contains("twice"));
    }

    /// As runs, checkpoints and model folders of earlier versions have it.
    #[test]
    fn flat_keys_of_earlier_files_are_read() {
        let unused = "link = \"mf2\"\nnum_samples = 0\nstochastic_layers = 0\n";
        // Methods that are newer than such files have keys of the same names.
        let newer = |method: &&Method| matches!(method, Method::Ivon | Method::LoraLaplace);
        for &method in Method::ALL.iter().filter(|method| !newer(method)) {
            let config = read(&format!("method = \"{}\"\n{unused}", method.name())).unwrap();
            assert_eq!(config, PosteriorConfig { link: LinkChoice::Mf2, ..method.into() });
        }
        let sampled =
            read("method = \"mc_dropout\"\nnum_samples = 8\nstochastic_layers = 2").unwrap();
        let passes = sampled.approach().needs().passes;
        assert_eq!(passes, Some(Passes::Dropout { samples: 8, layers: 2 }));
    }

    #[test]
    fn a_key_of_another_method_is_refused_with_its_name() {
        let message = read("num_samples = 8").unwrap_err();
        assert!(
            message.contains("`posterior.num_samples` applies to the method `mc_dropout`"),
            "{message}"
        );
        assert!(message.contains("the method is `laplace`"), "{message}");
        assert!(
            read("method = \"mc_dropout\"\nnum_sample = 8").unwrap_err().contains("num_sample")
        );
        let message = read("method = \"snpg\"").unwrap_err();
        assert!(message.contains("`snpg`") && message.contains("`mc_dropout`"), "{message}");
    }
}
