//! Checks records against the JSON Schema that `tracer schema` prints, made strict: a field that the schema does not
//! name is an error.

use std::process::Command;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

/// The schema as the program prints it.
#[must_use]
pub fn printed() -> Value {
    let output =
        Command::new(crate::programs::tracer()).arg("schema").output().expect("tracer can be started");
    assert!(output.status.success(), "tracer schema: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("tracer schema prints JSON")
}

/// Panics when `record` does not follow the schema.
pub fn check(record: &Value) {
    static VALIDATOR: OnceLock<Validator> = OnceLock::new();
    let validator = VALIDATOR.get_or_init(|| strict(printed()));
    if let Err(error) = validator.validate(record) {
        panic!("record does not follow the schema: {error} at {}\n{record}", error.instance_path());
    }
}

/// Compiles the schema with unknown fields forbidden.
#[must_use]
pub fn strict(mut schema: Value) -> Validator {
    forbid_unknown(&mut schema);
    jsonschema::validator_for(&schema).expect("the schema can be compiled")
}

/// Forbids unknown fields in every object that lists its fields and does not say what others look like.
fn forbid_unknown(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let lists_fields = object.get("properties").is_some_and(Value::is_object);
            if lists_fields && !object.contains_key("additionalProperties") {
                object.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            object.values_mut().for_each(forbid_unknown);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_unknown),
        _ => {}
    }
}
