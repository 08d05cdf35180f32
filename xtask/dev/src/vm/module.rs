//! Kernel modules: what a module says it depends on, and the order in which a set has to be inserted.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use object::{Object as _, ObjectSection as _};

/// A module's name as the kernel writes it: `-` and `_` are the same to it.
pub fn name_of(file: &str) -> Option<String> {
    let file = file.rsplit('/').next()?;
    let stem = file.strip_suffix(".ko").or_else(|| file.strip_suffix(".ko.xz"))?;
    Some(stem.replace('-', "_"))
}

/// The modules that must be there before this one: the `depends=` entry of its `.modinfo` section (NUL-separated
/// `key=value`, include/linux/module.h).
///
/// # Errors
/// When the bytes are no ELF file or have no such section.
pub fn depends(module: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(module).context("it is not an ELF file")?;
    let section = file.section_by_name(".modinfo").context("it has no section .modinfo")?;
    let data = section.data().context("its section .modinfo cannot be read")?;
    Ok(parse_modinfo(data))
}

fn parse_modinfo(data: &[u8]) -> Vec<String> {
    let entries = data.split(|byte| *byte == 0).filter_map(|entry| std::str::from_utf8(entry).ok());
    let names = entries.filter_map(|entry| entry.strip_prefix("depends=")).flat_map(|list| list.split(','));
    names.filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

/// Orders `wanted` and all they depend on so that nothing comes before its dependencies.
///
/// # Errors
/// When a dependency is not there or modules depend on each other in a circle.
pub fn load_order(wanted: &[&str], graph: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>> {
    let mut order = Vec::new();
    let mut done = BTreeSet::new();
    for name in wanted {
        visit(name, graph, &mut done, &mut Vec::new(), &mut order)?;
    }
    Ok(order)
}

fn visit(
    name: &str,
    graph: &BTreeMap<String, Vec<String>>,
    done: &mut BTreeSet<String>,
    path: &mut Vec<String>,
    order: &mut Vec<String>,
) -> Result<()> {
    if done.contains(name) {
        return Ok(());
    }
    if path.iter().any(|above| above == name) {
        bail!("modules depend on each other: {} → {name}", path.join(" → "));
    }
    let Some(depends) = graph.get(name) else {
        bail!(
            "the kernel package has no module {name}{}",
            path.last().map_or(String::new(), |by| format!(", which {by} needs"))
        );
    };
    path.push(name.to_owned());
    for below in depends {
        visit(below, graph, done, path, order)?;
    }
    path.pop();
    done.insert(name.to_owned());
    order.push(name.to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        edges
            .iter()
            .map(|(name, to)| ((*name).to_owned(), to.iter().map(|t| (*t).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn a_dependency_comes_first_and_once() {
        let graph = graph(&[
            ("tcp_diag", &["inet_diag"]),
            ("udp_diag", &["inet_diag"]),
            ("inet_diag", &[]),
            ("x", &[]),
        ]);
        assert_eq!(
            load_order(&["udp_diag", "tcp_diag"], &graph).unwrap(),
            ["inet_diag", "udp_diag", "tcp_diag"]
        );
    }

    #[test]
    fn a_missing_dependency_is_named_with_who_needs_it() {
        let text = load_order(&["a"], &graph(&[("a", &["b"])])).unwrap_err().to_string();
        assert!(text.contains("no module b") && text.contains("a needs"), "{text}");
    }

    #[test]
    fn a_circle_is_an_error_not_an_endless_walk() {
        let text = load_order(&["a"], &graph(&[("a", &["b"]), ("b", &["a"])])).unwrap_err().to_string();
        assert!(text.contains("a → b → a"), "{text}");
    }

    #[test]
    fn modinfo_lists_dependencies_and_may_list_none() {
        assert_eq!(
            parse_modinfo(b"license=GPL\0depends=inet-diag,udp_tunnel\0name=x\0"),
            ["inet_diag", "udp_tunnel"]
        );
        assert!(parse_modinfo(b"license=GPL\0depends=\0").is_empty());
    }

    #[test]
    fn a_name_does_not_depend_on_the_file_s_form() {
        assert_eq!(name_of("lib/modules/6.1/kernel/net/ipv4/tcp_diag.ko").as_deref(), Some("tcp_diag"));
        assert_eq!(name_of("x/virtio-net.ko.xz").as_deref(), Some("virtio_net"));
        assert_eq!(name_of("modules.builtin"), None);
    }
}
