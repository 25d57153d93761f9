//! The section `[posterior]`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::{Table, Value};

use super::{Approach, Method, Settings};
use crate::posterior::LinkChoice;

/// Settings of the posterior and of its method.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PosteriorConfig {
    /// How the posterior is approximated.
    pub method: Settings,
    /// How probabilities of more than two classes come from a Gaussian over the logits; two classes
    /// are always exact.
    pub link: LinkChoice,
}

/// The keys that every method has.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Shared {
    method: Method,
    link: LinkChoice,
}

impl Default for PosteriorConfig {
    fn default() -> Self {
        Method::default().into()
    }
}

impl From<Method> for PosteriorConfig {
    /// With the usual values.
    fn from(method: Method) -> Self {
        let usual = method.read(Table::new()).expect("every key has a usual value");
        Self { method: usual, link: LinkChoice::default() }
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
        self.approach().check()
    }

    /// From the keys of the section. A key of another method may have the value that it has there unless it
    /// is set: files of earlier versions hold those.
    fn read(mut table: Table) -> Result<Self, String> {
        let names = ["method", "link"];
        let shared = names.iter().filter_map(|&name| table.remove_entry(name)).collect::<Table>();
        let Shared { method, link } =
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
        Ok(Self { method: method.read(table)?, link })
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
        key == "link" || PosteriorConfig::from(self).method.keys().contains_key(key)
    }
}

impl Serialize for PosteriorConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shared = Shared { method: self.name(), link: self.link };
        let mut table = Table::try_from(shared).expect("settings are plain data");
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

    /// As runs, checkpoints and model folders of earlier versions have it.
    #[test]
    fn flat_keys_of_earlier_files_are_read() {
        let unused = "link = \"mf2\"\nnum_samples = 0\nstochastic_layers = 0\n";
        for &method in Method::ALL {
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
