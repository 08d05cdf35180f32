//! Whose connections recorded lines are: read once for all lines that say the same.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::Deserialize;

use super::line::{Member, Members};
use crate::enrich::app::Kind;
use crate::judge::observation::{Behalf, Derived, Who};

/// Owners that are remembered; when there are more, they are read anew.
const CAPACITY: usize = 4096;
/// The members that tell of the owner.
pub const MEMBERS: [Member; 4] = [Member::Process, Member::User, Member::App, Member::Attribution];

/// Owners by the text of these members.
#[derive(Default)]
pub struct Owners {
    known: HashTable<Known>,
    hasher: DefaultHashBuilder,
}

struct Known {
    texts: [Option<Box<str>>; MEMBERS.len()],
    who: Arc<Who>,
}

impl Owners {
    /// The owner that a line tells of.
    ///
    /// # Errors
    /// When its members have another form.
    pub fn of(&mut self, members: &Members<'_>) -> Result<Arc<Who>, serde_json::Error> {
        let texts = MEMBERS.map(|member| members.get(member));
        let hash = self.hasher.hash_one(texts);
        let is_same = |known: &Known| known.texts.iter().map(Option::as_deref).eq(texts);
        if let Some(known) = self.known.find(hash, is_same) {
            return Ok(Arc::clone(&known.who));
        }
        if self.known.len() >= CAPACITY {
            self.known.clear();
        }
        let who = Arc::new(read(members)?);
        let known = Known { texts: texts.map(|text| text.map(Into::into)), who: Arc::clone(&who) };
        let hasher = &self.hasher;
        self.known.insert_unique(hash, known, |known| {
            hasher.hash_one(known.texts.each_ref().map(Option::as_deref))
        });
        Ok(who)
    }
}

#[derive(Deserialize)]
struct Process {
    name: String,
    executable: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct App {
    #[serde(default)]
    package: Vec<String>,
    android_user: Option<u32>,
    kind: Option<Kind>,
    preinstalled: Option<bool>,
    removable: Option<bool>,
}

#[derive(Deserialize)]
struct Attribution {
    on_behalf_of: Option<OnBehalfOf>,
}

#[derive(Deserialize)]
struct OnBehalfOf {
    uid: u32,
    #[serde(default)]
    package: Vec<String>,
    tag: String,
}

fn read(members: &Members<'_>) -> Result<Who, serde_json::Error> {
    let process: Option<Process> = members.read(Member::Process)?;
    let user: Option<User> = members.read(Member::User)?;
    let app: Option<App> = members.read(Member::App)?;
    let attribution: Option<Attribution> = members.read(Member::Attribution)?;
    let (process, executable) = process.map(|process| (process.name, process.executable)).unzip();
    Ok(Who {
        derived: Derived::default(),
        uid: user.as_ref().and_then(|user| user.id.parse().ok()),
        user: user.and_then(|user| user.name).map(Into::into),
        packages: app.as_ref().map(|app| app.package.join(",")).unwrap_or_default().into(),
        app_kind: app.as_ref().and_then(|app| app.kind),
        android_user: app.as_ref().and_then(|app| app.android_user),
        is_preinstalled: app.as_ref().and_then(|app| app.preinstalled),
        is_removable: app.as_ref().and_then(|app| app.removable),
        process: process.map(Into::into),
        executable: executable.flatten().map(Into::into),
        on_behalf_of: attribution.and_then(|attribution| attribution.on_behalf_of).map(|other| Behalf {
            uid: other.uid,
            packages: other.package.join(",").into(),
            tag: other.tag.into(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_once() {
        let line = r#"{"seq":1,"process":{"pid":1,"name":"a"},"user":{"id":"10"},
            "app":{"package":["x.y","z"],"uid":10,"kind":"app"},"attribution":{"method":"sock_ops"}}"#;
        let members = Members::of(line).unwrap();
        let mut owners = Owners::default();
        let who = owners.of(&members).unwrap();
        assert_eq!((who.uid, &*who.packages, who.process.as_deref()), (Some(10), "x.y,z", Some("a")));
        assert!(Arc::ptr_eq(&who, &owners.of(&members).unwrap()));
        let other = Members::of(r#"{"user":{"id":7}}"#).unwrap();
        assert!(owners.of(&other).unwrap_err().to_string().starts_with("`user`: "));
    }
}
