//! The list of methods becomes types and functions here.

/// Makes [`Settings`](super::Settings), and for [`Method`](super::Method) all that tells one from another.
macro_rules! registry {
    ($($variant:ident($settings:ty) = $name:literal),+ $(,)?) => {
        /// A method with its keys of `[posterior]`.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Settings {
            $(
                #[doc = concat!("Of `", $name, "`.")]
                $variant($settings),
            )+
        }

        impl Method {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As it is written in configs.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }

            /// With these keys of its own; the others have their usual values.
            fn read(self, keys: toml::Table) -> std::result::Result<Settings, String> {
                let words = |error: toml::de::Error| error.message().to_owned();
                match self {
                    $(Self::$variant => keys.try_into().map(Settings::$variant).map_err(words)),+
                }
            }

            /// What the posterior of a model is, in sentences for its card.
            pub fn describe(self, posterior: &Posterior, fit: &FitRecord) -> String {
                match self {
                    $(Self::$variant => <$settings>::describe(posterior, fit)),+
                }
            }
        }

        impl Settings {
            pub fn method(&self) -> Method {
                match self {
                    $(Self::$variant(_) => Method::$variant),+
                }
            }

            /// What the method does with them.
            pub fn approach(&self) -> &dyn Approach {
                match self {
                    $(Self::$variant(settings) => settings),+
                }
            }

            /// All of them, by key.
            fn keys(&self) -> toml::Table {
                let table = match self {
                    $(Self::$variant(settings) => toml::Table::try_from(settings)),+
                };
                table.expect("settings are plain data")
            }
        }
    };
}
pub(super) use registry;
