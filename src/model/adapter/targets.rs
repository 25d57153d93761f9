//! Which modules of its base an adapter changes, as PEFT decides it (`check_target_module_exists`, `_set_trainable`,
//! `get_pattern_key`). Names are those of modules of the base, without `.weight`.

use fancy_regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a config says of them. Each may be an expression, a list or nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Targets {
    target_modules: Value,
    exclude_modules: Value,
    modules_to_save: Option<Vec<String>>,
    layers_to_transform: Value,
    layers_pattern: Value,
    r: Option<usize>,
    rank_pattern: Option<Map<String, Value>>,
}

/// The rank of PEFT where nothing is said.
const RANK: usize = 8;

impl Targets {
    /// Whether a module gets a product; `None` where only PEFT knows, by the family of the base. `Err` is what cannot
    /// be understood.
    pub(super) fn contain(&self, module: &str) -> Result<Option<bool>, String> {
        let excluded = match &self.exclude_modules {
            Value::String(expression) if !expression.is_empty() => {
                is_match(&format!("^(?:{expression})$"), module)?
            }
            names => is_named(names, module).is_some_and(|named| named),
        };
        if excluded || self.is_inside_saved(module)? {
            return Ok(Some(false));
        }
        match &self.target_modules {
            Value::String(all) if all.to_lowercase() == "all-linear" => Ok(Some(is_linear(module))),
            Value::String(expression) => {
                Ok(Some(is_match(&format!("^(?:{expression})$"), module)?))
            }
            names @ Value::Array(all) => {
                let whole = all.iter().any(|name| name == module);
                let named = is_named(names, module) == Some(true);
                Ok(Some(whole || (named && self.has_layer(module)?)))
            }
            _ => Ok(None),
        }
    }

    fn is_inside_saved(&self, module: &str) -> Result<bool, String> {
        for saved in self.modules_to_save.iter().flatten() {
            if is_match(&format!(r"^(?:|.*\.){saved}(?:$|\..*)"), module)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The entry of `modules_to_save` by which a module is saved whole, itself or with one that it is in.
    pub(super) fn saved(&self, module: &str) -> Option<&str> {
        let ends = module.match_indices('.').map(|(end, _)| end).chain([module.len()]);
        let all: Vec<&str> = ends.map(|end| &module[..end]).collect();
        let saved = self.modules_to_save.iter().flatten();
        let mut saved = saved.filter(|saved| !saved.is_empty());
        saved.find(|saved| all.iter().any(|own| own.ends_with(*saved))).map(String::as_str)
    }

    /// Whether a module is in one of the layers that are asked for, by the first number in its name.
    fn has_layer(&self, module: &str) -> Result<bool, String> {
        let layers: Vec<u64> = match &self.layers_to_transform {
            Value::Number(one) => one.as_u64().into_iter().collect(),
            Value::Array(all) if !all.is_empty() => all.iter().filter_map(Value::as_u64).collect(),
            _ => return Ok(true),
        };
        let expressions: Vec<String> = match &self.layers_pattern {
            Value::String(one) if !one.is_empty() => vec![behind(one)],
            Value::Array(all) if !all.is_empty() => {
                all.iter().filter_map(Value::as_str).map(behind).collect()
            }
            _ => vec![r"^.*?\.[^.]*\.(\d+)\.".to_owned()],
        };
        for expression in expressions {
            let found =
                compiled(&expression)?.captures(module).map_err(|error| error.to_string())?;
            let number = found.and_then(|found| found.get(1)?.as_str().parse().ok());
            if let Some(number) = number {
                return Ok(layers.contains(&number));
            }
        }
        Ok(false)
    }

    /// r of a module.
    pub(super) fn rank(&self, module: &str) -> Result<usize, String> {
        let own = self.rank_pattern.as_ref().map(|all| of_pattern(all, module)).transpose()?;
        match own.flatten() {
            Some(rank) => rank
                .as_u64()
                .map(|rank| rank as usize)
                .ok_or_else(|| "`rank_pattern` has no whole number".to_owned()),
            None => Ok(self.r.unwrap_or(RANK)),
        }
    }
}

/// The value of the first expression that a module's name ends with, behind a dot.
pub(super) fn of_pattern<'a>(
    all: &'a Map<String, Value>,
    module: &str,
) -> Result<Option<&'a Value>, String> {
    for (pattern, value) in all {
        if is_match(&format!(r"^(?:.*\.)?(?:{pattern})$"), module)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn behind(pattern: &str) -> String {
    format!(r"^(?:|.*?\.){pattern}\.(\d+)\.")
}

/// Whether a list names a module, whole or its end.
fn is_named(names: &Value, module: &str) -> Option<bool> {
    let mut names = names.as_array()?.iter().filter_map(Value::as_str);
    Some(names.any(|name| {
        module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }))
}

/// Whether a module with a matrix is a linear layer: tables of embeddings are none.
fn is_linear(module: &str) -> bool {
    let last = module.rsplit('.').next().unwrap_or_default();
    !last.ends_with("embeddings") && last != "relative_attention_bias"
}

fn compiled(expression: &str) -> Result<Regex, String> {
    Regex::new(expression).map_err(|_| {
        let shown: String = expression.chars().take(60).collect();
        format!("its config has the expression `{shown}`, which is not understood")
    })
}

fn is_match(expression: &str, module: &str) -> Result<bool, String> {
    compiled(expression)?.is_match(module).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const QUERY: &str = "bert.encoder.layer.1.attention.self.query";

    fn of(value: Value) -> Targets {
        serde_json::from_value(value).unwrap()
    }

    /// As `check_target_module_exists` of PEFT 0.21 answers.
    #[test]
    fn a_module_is_aimed_at_as_in_peft() {
        for (config, expected) in [
            (json!({}), None),
            (json!({"target_modules": ["query"]}), Some(true)),
            (json!({"target_modules": ["self.query"]}), Some(true)),
            (json!({"target_modules": ["uery"]}), Some(false)),
            (json!({"target_modules": []}), Some(false)),
            (json!({"target_modules": "all-linear"}), Some(true)),
            (json!({"target_modules": "query"}), Some(false)),
            (json!({"target_modules": r".*layer\.1\..*query"}), Some(true)),
            (json!({"target_modules": r".*layer\.1\..*quer"}), Some(false)),
            (json!({"target_modules": r".*layer\.(?!1)\d+\..*query"}), Some(false)),
            (json!({"target_modules": ["query"], "exclude_modules": ["query"]}), Some(false)),
            (json!({"target_modules": ["query"], "exclude_modules": ".*1.*"}), Some(false)),
            (json!({"target_modules": ["query"], "exclude_modules": ".*0.*"}), Some(true)),
            (json!({"target_modules": ["query"], "exclude_modules": ""}), Some(true)),
            (json!({"target_modules": ["query"], "modules_to_save": ["layer"]}), Some(false)),
            (json!({"target_modules": ["query"], "modules_to_save": ["classifier"]}), Some(true)),
            (json!({"target_modules": ["query"], "layers_to_transform": [0, 1]}), Some(true)),
            (json!({"target_modules": ["query"], "layers_to_transform": 0}), Some(false)),
            (json!({"target_modules": ["query"], "layers_to_transform": []}), Some(true)),
            (json!({"target_modules": [QUERY], "layers_to_transform": [0]}), Some(true)),
            (
                json!({"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": "layer"}),
                Some(true),
            ),
            (
                json!({"target_modules": ["query"], "layers_to_transform": [1], "layers_pattern": ["h"]}),
                Some(false),
            ),
        ] {
            assert_eq!(of(config.clone()).contain(QUERY), Ok(expected), "{config}");
        }
        let broken = of(json!({"target_modules": "(query"})).contain(QUERY).unwrap_err();
        assert!(broken.contains("(query"), "{broken}");
        let all = of(json!({"target_modules": "all-linear"}));
        assert_eq!(all.contain("bert.embeddings.word_embeddings"), Ok(Some(false)));
    }

    #[test]
    fn a_module_is_saved_by_the_end_of_a_name_above_it() {
        let saved = of(json!({"modules_to_save": ["classifier", "score"]}));
        for (module, expected) in [
            ("classifier", Some("classifier")),
            ("classifier.dense", Some("classifier")),
            ("pre_classifier", Some("classifier")),
            (QUERY, None),
        ] {
            assert_eq!(saved.saved(module), expected, "{module}");
        }
        assert_eq!(of(json!({})).saved("classifier"), None);
    }

    #[test]
    fn a_pattern_is_the_end_of_a_module_s_name() {
        for (pattern, expected) in [
            ("query", 3),
            ("self.query", 3),
            (r"layer\.1\.attention\.self\.query", 3),
            (QUERY, 3),
            (r"layer\.[01]\..*", 3),
            ("^bert.encoder.layer.1.attention.self.query$", 3),
            ("^query", 4),
            ("uery", 4),
            ("layer.0.attention.self.query", 4),
            (".*quer", 4),
        ] {
            let config = json!({"r": 4, "rank_pattern": {pattern: 3}});
            assert_eq!(of(config).rank(QUERY), Ok(expected), "{pattern}");
        }
        assert_eq!(of(json!({})).rank(QUERY), Ok(RANK));
        assert!(of(json!({"rank_pattern": {"query": "x"}})).rank(QUERY).is_err());
    }
}
