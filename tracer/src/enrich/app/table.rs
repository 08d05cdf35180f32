//! The answer to "whose is this uid", loaded once and asked for every record.
//!
//! Loading reads files and may take tens of milliseconds: do it on a thread of its own and swap the table in. Asking
//! borrows and allocates nothing, except for a user name that has to be made up (`u0_a123`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::file::{Missing, Trouble, read};
use super::packages_list::{self, Line};
use super::packages_xml::{self, Package, Packages};
use super::uid::{self, Parts, Range};
use super::{Kind, aid, passwd};
use crate::record::{AppMember, AppObject};

const LIST: &str = "data/system/packages.list";
const XML: &str = "data/system/packages.xml";
const PASSWD: &str = "etc/passwd";
/// Where the device maker names its own ids (bionic `grp_pwd_file.cpp`).
const PARTITION_PASSWD: [&str; 5] = [
    "system/etc/passwd",
    "vendor/etc/passwd",
    "odm/etc/passwd",
    "product/etc/passwd",
    "system_ext/etc/passwd",
];
/// Directories with one entry per Android user: credential-encrypted and device-encrypted app data.
const USER_DIRECTORIES: [&str; 2] = ["data/user", "data/user_de"];
/// Android allows far fewer; bounds what a hostile directory can cost.
const MAX_USERS: usize = 1000;

/// Which uid belongs to which packages, users and names. See [`Self::load`].
#[derive(Debug)]
pub struct AppTable {
    root: PathBuf,
    android: bool,
    /// Sorted by app id.
    apps: Vec<Entry>,
    users: Vec<u32>,
    /// From `passwd` files, sorted by uid.
    names: Vec<(u32, String)>,
}

/// What is known of one app id that owns packages.
#[derive(Debug)]
struct Entry {
    app_id: u32,
    /// Names of `members`, in the same order.
    packages: Vec<String>,
    /// Sorted by name.
    members: Vec<AppMember>,
    preinstalled: Option<bool>,
    removable: Option<bool>,
    updated: Option<bool>,
}

/// One uid's answer, see [`AppTable::lookup`].
#[derive(Clone, Copy, Debug)]
pub struct App<'a> {
    pub uid: u32,
    /// Android user (profile).
    pub android_user: u32,
    /// App id under which the packages are registered, see [`AppObject::app_id`].
    pub app_id: u32,
    pub kind: Kind,
    /// The name of the process tells the packages, not the uid.
    pub is_by_name: bool,
    entry: Option<&'a Entry>,
}

/// Files whose change makes a new [`AppTable::load`] worth while. They need not exist, and Android replaces them by
/// renaming: watch their directories. A new Android user shows in the first one, which lists the group ids of all
/// users.
#[must_use]
pub fn watch_paths(root: &Path) -> Vec<PathBuf> {
    [LIST, XML, PASSWD].iter().map(|path| root.join(path)).collect()
}

impl AppTable {
    /// Reads everything below `root`, `/` on a device. The second part are warnings for a person, at most one per
    /// file.
    ///
    /// Without a directory `data/system` this is a plain Linux: no apps, user names from `etc/passwd`; a warning
    /// only if the root was given `explicit`ly, as an Android's.
    #[must_use]
    pub fn load(root: &Path, explicit: bool) -> (Self, Vec<String>) {
        let mut warnings = Vec::new();
        let android = has_android(root);
        if explicit && !android {
            let path = root.join("data/system");
            let mut trouble = Trouble::new(&path);
            trouble.add("cannot open it", "no such directory");
            warnings.extend(
                trouble.into_warning(
                    "records carry no package names; check --android-root, and that you are root",
                ),
            );
        }
        let mut table =
            Self { root: root.to_owned(), android, apps: Vec::new(), users: Vec::new(), names: Vec::new() };
        if android {
            table.apps = load_apps(root, &mut warnings);
            table.users = load_users(root);
            table.names = load_partition_names(root, &mut warnings);
        } else {
            table.names = passwd::load(&root.join(PASSWD), &mut warnings);
        }
        (table, warnings)
    }

    /// Whether the root holds an Android (else a plain Linux, without apps).
    #[must_use]
    pub fn is_android(&self) -> bool {
        self.android
    }

    /// The directory that it was loaded from.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Number of packages known by uid; nothing on plain Linux.
    #[must_use]
    pub fn package_count(&self) -> Option<usize> {
        self.android.then(|| self.apps.iter().map(|entry| entry.packages.len()).sum())
    }

    /// Android users that have a data directory, sorted.
    #[must_use]
    pub fn users(&self) -> &[u32] {
        &self.users
    }

    /// The app of a uid. Nothing on plain Linux, and for ids that Android gives no meaning to.
    #[must_use]
    pub fn lookup(&self, uid: u32) -> Option<App<'_>> {
        if !self.android {
            return None;
        }
        let parts = Parts::of(uid)?;
        let entry = parts.package_id().and_then(|id| self.entry(id));
        let kind = kind(parts, entry)?;
        let app_id = parts.package_id().unwrap_or(parts.app_id);
        Some(App { uid, android_user: parts.user, app_id, kind, is_by_name: false, entry })
    }

    /// The app of an isolated process, whose uid does not tell it: Android names such a process after its package,
    /// `PACKAGE:NAME`. `None` for other uids, and when no package has that name.
    #[must_use]
    pub fn named_by_process(&self, app: &App<'_>, command_line: &str) -> Option<App<'_>> {
        if app.kind != Kind::Isolated {
            return None;
        }
        let (package, _) = command_line.split_once(':')?;
        let has_package = |entry: &&Entry| entry.packages.iter().any(|name| name == package);
        let entry = self.apps.iter().find(has_package)?;
        Some(App { app_id: entry.app_id, is_by_name: true, entry: Some(entry), ..self.lookup(app.uid)? })
    }

    /// Every app id that owns packages, as the uid that it has for Android user 0. A file may also name an id that owns none
    /// (of an isolated process, or of a sandbox, whose packages are those of its app).
    pub fn apps(&self) -> impl Iterator<Item = App<'_>> {
        let owner = |entry: &Entry| self.lookup(entry.app_id).filter(|app| app.is_of(entry));
        self.apps.iter().filter_map(owner)
    }

    /// Name of a uid. On Android what bionic's `getpwuid()` says: the AID's name, the device maker's, or `u0_a123`,
    /// `u10_i5`, `u10_radio`. On plain Linux the one in `etc/passwd`.
    #[must_use]
    pub fn user_name(&self, uid: u32) -> Option<Cow<'_, str>> {
        if !self.android {
            return self.listed_name(uid).map(Cow::Borrowed);
        }
        let Parts { user, app_id, range } = Parts::of(uid)?;
        match range {
            Range::App | Range::SdkSandbox => Some(format!("u{user}_a{}", app_id - uid::APP_START).into()),
            Range::Isolated => Some(format!("u{user}_i{}", app_id - uid::ISOLATED_START).into()),
            Range::Other => None,
            Range::Root | Range::Shell | Range::Fixed if user > 0 => {
                aid::name(app_id).map(|name| format!("u{user}_{name}").into())
            }
            Range::Root | Range::Shell | Range::Fixed => aid::name(app_id)
                .or_else(|| self.listed_name(app_id))
                .map(Cow::Borrowed)
                .or_else(|| uid::is_oem(app_id).then(|| format!("oem_{app_id}").into())),
        }
    }

    /// Uid and name of every line of the `passwd` files, sorted by uid.
    pub(super) fn listed_names(&self) -> &[(u32, String)] {
        &self.names
    }

    fn listed_name(&self, uid: u32) -> Option<&str> {
        let at = self.names.binary_search_by_key(&uid, |&(id, _)| id).ok()?;
        self.names.get(at).map(|(_, name)| name.as_str())
    }

    fn entry(&self, app_id: u32) -> Option<&Entry> {
        let at = self.apps.binary_search_by_key(&app_id, |entry| entry.app_id).ok()?;
        self.apps.get(at)
    }
}

impl<'a> App<'a> {
    fn is_of(&self, entry: &Entry) -> bool {
        self.entry.is_some_and(|own| own.app_id == entry.app_id)
    }

    /// Every package that shares the uid, sorted. Empty when none is known.
    #[must_use]
    pub fn packages(&self) -> &'a [String] {
        self.entry.map(|entry| entry.packages.as_slice()).unwrap_or_default()
    }

    /// The same packages, each with what is known of it.
    #[must_use]
    pub fn members(&self) -> &'a [AppMember] {
        self.entry.map(|entry| entry.members.as_slice()).unwrap_or_default()
    }

    /// As it stands in a record, without what is known of each single package of a shared uid: for the 60 packages of
    /// uid 1000 that alone would be 9 KB and some 35 µs a record.
    #[must_use]
    pub fn brief(&self) -> AppObject<'a> {
        AppObject { members: &[], ..self.object() }
    }

    /// Everything that is known.
    #[must_use]
    pub fn object(&self) -> AppObject<'a> {
        let members = self.members();
        // One package speaks for its uid; of several each speaks for itself.
        let (single, members) = match members {
            [single] => (Some(single), &[][..]),
            members => (None, members),
        };
        AppObject {
            package: self.packages(),
            uid: self.uid,
            android_user: self.android_user,
            app_id: self.app_id,
            kind: self.kind,
            preinstalled: self.entry.and_then(|entry| entry.preinstalled),
            removable: self.entry.and_then(|entry| entry.removable),
            updated: self.entry.and_then(|entry| entry.updated),
            version: single.and_then(|member| member.version),
            installer: single.and_then(|member| member.installer.as_deref()),
            members,
        }
    }
}

impl Entry {
    /// `members` need not be sorted; a package that is listed twice counts once.
    fn new(app_id: u32, mut members: Vec<AppMember>) -> Self {
        members.sort_by(|a, b| a.package.cmp(&b.package));
        members.dedup_by(|a, b| a.package == b.package);
        Self {
            app_id,
            packages: members.iter().map(|member| member.package.clone()).collect(),
            preinstalled: all(members.iter().map(|member| member.preinstalled)),
            removable: all(members.iter().map(|member| member.removable)),
            // One updated package is enough for the code of this uid not to be that of the system image.
            updated: any(members.iter().map(|member| member.updated)),
            members,
        }
    }
}

/// True when all are, false when one is not, else unknown.
fn all(facts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    any(facts.map(|fact| fact.map(|f| !f))).map(|f| !f)
}

/// True when one is, false when all are not, else unknown.
fn any(facts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut answer = Some(false);
    for fact in facts {
        match fact {
            Some(true) => return Some(true),
            Some(false) => {}
            None => answer = None,
        }
    }
    answer
}

fn kind(parts: Parts, entry: Option<&Entry>) -> Option<Kind> {
    match parts.range {
        Range::Root => Some(Kind::Root),
        Range::Shell => Some(Kind::Shell),
        Range::SdkSandbox => Some(Kind::SdkSandbox),
        Range::Isolated => Some(Kind::Isolated),
        Range::App if entry.is_some_and(|entry| entry.preinstalled == Some(true)) => Some(Kind::System),
        Range::App => Some(Kind::App),
        Range::Fixed if entry.is_some() => Some(Kind::System),
        Range::Fixed if aid::name(parts.app_id).is_some() || uid::is_reserved(parts.app_id) => {
            Some(Kind::Service)
        }
        Range::Fixed | Range::Other => None,
    }
}

fn has_android(root: &Path) -> bool {
    match std::fs::metadata(root.join("data/system")) {
        Ok(found) => found.is_dir(),
        // Not allowed to look: something is there, and the files' own warnings say the rest.
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

fn load_apps(root: &Path, warnings: &mut Vec<String>) -> Vec<Entry> {
    let (list_path, xml_path) = (root.join(LIST), root.join(XML));
    let mut list_trouble = Trouble::new(&list_path);
    let list = read(&list_path, Missing::Warn, &mut list_trouble).unwrap_or_default();
    let lines = packages_list::parse(&list, &mut list_trouble);
    let mut xml_trouble = Trouble::new(&xml_path);
    let packages = read(&xml_path, Missing::Warn, &mut xml_trouble)
        .map(|bytes| packages_xml::parse(&bytes, &mut xml_trouble))
        .unwrap_or_default();
    let complete = !list_trouble.is_some();
    warnings.extend(list_trouble.into_warning(
        "packages that could not be read from it are taken from packages.xml where that has them, else left out",
    ));
    warnings.extend(xml_trouble.into_warning(
        "where packages came from, their versions and installers are known only as far as it could be read",
    ));
    merge(&lines, packages, complete)
}

/// One entry per app id. The list says which packages have a uid now; `packages.xml` also knows packages without code
/// (uninstalled, data kept), so it adds packages only when the list is not `complete`.
fn merge(lines: &[Line<'_>], mut packages: Packages, complete: bool) -> Vec<Entry> {
    let mut by_id: BTreeMap<u32, Vec<AppMember>> = BTreeMap::new();
    for line in lines {
        let facts = packages.get(line.name);
        by_id.entry(line.uid % uid::USER_OFFSET).or_default().push(member(line, facts));
    }
    if !complete {
        for line in lines {
            packages.remove(line.name);
        }
        for (name, facts) in &packages {
            if let Some(id) = facts.app_id {
                let line = Line { name, uid: id, version: None, installer: None, preinstalled: None };
                by_id.entry(id).or_default().push(member(&line, Some(facts)));
            }
        }
    }
    by_id.into_iter().map(|(app_id, members)| Entry::new(app_id, members)).collect()
}

fn member(line: &Line<'_>, facts: Option<&Package>) -> AppMember {
    // The list names the system image for some packages; packages.xml knows more, so one yes is enough.
    let preinstalled = match (line.preinstalled, facts.and_then(|f| f.preinstalled)) {
        (Some(a), Some(b)) => Some(a || b),
        (a, b) => a.or(b),
    };
    let installer = facts.and_then(|f| f.installer.as_deref()).or(line.installer);
    AppMember {
        package: line.name.to_owned(),
        preinstalled,
        // Of a preinstalled app only the update can be uninstalled.
        removable: preinstalled.map(|preinstalled| !preinstalled),
        updated: match (facts, preinstalled) {
            (Some(facts), _) => Some(facts.updated),
            // Only a preinstalled app can be an updated one.
            (None, Some(false)) => Some(false),
            (None, _) => None,
        },
        version: facts.and_then(|f| f.version).or(line.version),
        installer: installer.map(str::to_owned),
    }
}

fn load_users(root: &Path) -> Vec<u32> {
    let mut users: Vec<u32> = USER_DIRECTORIES
        .iter()
        .filter_map(|dir| std::fs::read_dir(root.join(dir)).ok())
        .flat_map(|entries| entries.take(MAX_USERS))
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    users.sort_unstable();
    users.dedup();
    users
}

fn load_partition_names(root: &Path, warnings: &mut Vec<String>) -> Vec<(u32, String)> {
    let mut names: Vec<_> =
        PARTITION_PASSWD.iter().flat_map(|path| passwd::load(&root.join(path), warnings)).collect();
    names.retain(|&(id, _)| uid::is_reserved(id));
    names.sort_by_key(|&(id, _)| id);
    names.dedup_by_key(|&mut (id, _)| id);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::app::tests::TempDir;

    /// Found by fuzzing.
    #[test]
    fn an_id_that_cannot_own_packages_is_no_app() {
        let root = TempDir::new();
        let line = |name: &str, uid: u32| format!("{name} {uid} 0 /data/user/0/{name} default 0\n");
        let list = line("com.isolated", 90_140) + &line("com.sandbox", 20_123) + &line("com.app", 10_123);
        root.write(LIST, list.as_bytes());
        let (table, _) = AppTable::load(root.path(), true);
        assert_eq!(table.apps().map(|app| app.uid).collect::<Vec<_>>(), [10_123]);
    }
}
