//! The JSON Schema of the records, made from the record types themselves.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde_json::Value;

use super::{Record, Who};

/// JSON Schema (draft 2020-12) that every line of output is valid against.
#[must_use]
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Form>().to_value();
    forbid_null(&mut schema);
    schema
}

/// A record as it is written: the members of both in one object.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "tracer record", description = "One line of output.")]
struct Form {
    #[serde(flatten)]
    record: Record<'static>,
    #[serde(flatten)]
    who: Option<Who<'static>>,
}

/// Unknown values are left out of a record, so that `null` never appears: the alternatives that schemars adds for
/// `Option` go.
fn forbid_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        Value::Object(object) => {
            object.values_mut().for_each(forbid_null);
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_mut_slice() {
                    let only = only.take();
                    object.insert("type".to_owned(), only);
                }
            }
            let Some(Value::Array(alternatives)) = object.get_mut("anyOf") else { return };
            alternatives.retain(|alternative| alternative.get("type") != Some(&Value::from("null")));
            if let [Value::Object(only)] = alternatives.as_mut_slice() {
                let only = std::mem::take(only);
                object.remove("anyOf");
                for (key, value) in only {
                    object.entry(key).or_insert(value);
                }
            }
        }
        _ => {}
    }
}

/// Paths of all members of a record that hold a value: `a.b`, and `list[].c` of what is in lists.
#[must_use]
pub fn member_paths() -> Vec<String> {
    let schema = schema();
    let mut paths = Vec::new();
    leaves(&schema, &schema, "", &mut paths);
    paths
}

/// Collects the paths of all members that hold a value, `a.b` and `list[].c`.
fn leaves(schema: &Value, node: &Value, path: &str, found: &mut Vec<String>) {
    if let Some(reference) = node["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or_default();
        return leaves(schema, &schema["$defs"][name], path, found);
    }
    if let Some(members) = node["properties"].as_object() {
        for (name, member) in members {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            leaves(schema, member, &path, found);
        }
    } else if node["type"] == "array" && (node["items"].get("$ref")).is_some() {
        let before = found.len();
        leaves(schema, &node["items"], &format!("{path}[]"), found);
        // A list of plain values is a value itself.
        if found.len() == before + 1 && found.last() == Some(&format!("{path}[]")) {
            found.pop();
            found.push(path.to_owned());
        }
    } else {
        found.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_may_be_null_and_only_what_is_always_there_is_required() {
        let schema = schema();
        assert!(!schema.to_string().contains("\"null\""), "{schema:#}");
        assert_eq!(schema["required"], serde_json::json!(["schema", "seq", "@timestamp", "event"]));
        assert_eq!(schema["properties"]["app"]["$ref"], "#/$defs/AppObject");
    }

    #[test]
    fn the_documentation_explains_every_field() {
        let paths = member_paths();
        assert!(paths.len() > 80, "{paths:?}");
        let document = include_str!("../../../docs/schema.md");
        let missing: Vec<_> = paths.iter().filter(|path| !document.contains(&format!("`{path}`"))).collect();
        assert!(missing.is_empty(), "docs/schema.md does not explain {missing:?}");
    }
}
