//! Arithmetic of Android uids. Pure numbers: which user, which app id, which range.
//!
//! Facts: AOSP `system/core/libcutils/include/private/android_filesystem_config.h`; the table in `data/aid.tsv` holds
//! the same limits and a test compares the two.

/// Uids of one Android user: uid = user * 100000 + app id.
pub const USER_OFFSET: u32 = 100_000;
/// `(uid_t)-1`: no uid at all. In `packages.list` it stands for a package that owns none.
pub const INVALID: u32 = u32::MAX;

pub const ROOT: u32 = 0;
pub const SHELL: u32 = 2000;
pub const APP_START: u32 = 10_000;
pub const APP_END: u32 = 19_999;
pub const SDK_SANDBOX_START: u32 = 20_000;
pub const SDK_SANDBOX_END: u32 = 29_999;
pub const ISOLATED_START: u32 = 90_000;
pub const ISOLATED_END: u32 = 99_999;

/// Ranges that device makers hand out: OEM, system, odm, product, `system_ext`. Their names stand in the partitions'
/// own `etc/passwd`.
pub const RESERVED: [(u32, u32); 6] =
    [(2900, 2999), (5000, 5999), (6000, 6499), (6500, 6999), (7000, 7499), (7500, 7999)];
/// How many of [`RESERVED`] are OEM ranges, which bionic names `oem_N` when nothing else does.
const OEM_RANGES: usize = 2;

/// A uid taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Android user (profile): 0 is the owner of the device.
    pub user: u32,
    /// uid % 100000.
    pub app_id: u32,
    pub range: Range,
}

/// What the app id's number alone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    Root,
    /// `adb shell`.
    Shell,
    /// Below 10000: fixed ids of the system and the device maker.
    Fixed,
    /// Handed out at installation.
    App,
    /// The SDK sandbox of the app whose id is 10000 less.
    SdkSandbox,
    /// Handed out at run time; which app owns it is written nowhere.
    Isolated,
    /// Not used for processes on any release whose facts are confirmed.
    Other,
}

impl Parts {
    /// Takes `uid` apart; nothing for [`INVALID`].
    #[must_use]
    pub fn of(uid: u32) -> Option<Self> {
        if uid == INVALID {
            return None;
        }
        let (user, app_id) = (uid / USER_OFFSET, uid % USER_OFFSET);
        let range = match app_id {
            // uid 0 is the only one with that power: `user * 100000` is nobody's root.
            ROOT if user == 0 => Range::Root,
            ROOT => Range::Other,
            SHELL => Range::Shell,
            id if id < APP_START => Range::Fixed,
            APP_START..=APP_END => Range::App,
            SDK_SANDBOX_START..=SDK_SANDBOX_END => Range::SdkSandbox,
            ISOLATED_START..=ISOLATED_END => Range::Isolated,
            _ => Range::Other,
        };
        Some(Self { user, app_id, range })
    }

    /// App id under which packages are registered: of the app itself for its SDK sandbox, none for isolated
    /// processes.
    #[must_use]
    pub fn package_id(self) -> Option<u32> {
        match self.range {
            Range::SdkSandbox => Some(self.app_id - (SDK_SANDBOX_START - APP_START)),
            Range::Isolated => None,
            _ => Some(self.app_id),
        }
    }
}

/// Whether the device maker hands this id out, see [`RESERVED`].
#[must_use]
pub fn is_reserved(app_id: u32) -> bool {
    RESERVED.iter().any(|&(first, last)| (first..=last).contains(&app_id))
}

/// Whether this is one of the ids that bionic names `oem_N`.
#[must_use]
pub fn is_oem(app_id: u32) -> bool {
    RESERVED.iter().take(OEM_RANGES).any(|&(first, last)| (first..=last).contains(&app_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uid: u32) -> (u32, u32, Range) {
        Parts::of(uid).map(|p| (p.user, p.app_id, p.range)).unwrap()
    }

    #[test]
    fn a_uid_splits_into_user_and_app_id() {
        assert_eq!(parts(10_123), (0, 10_123, Range::App));
        assert_eq!(parts(1_010_123), (10, 10_123, Range::App));
        assert_eq!(parts(1_001_000), (10, 1000, Range::Fixed));
    }

    #[test]
    fn every_range_ends_where_the_next_begins() {
        let expected = [
            (0, Range::Root),
            (1, Range::Fixed),
            (1999, Range::Fixed),
            (2000, Range::Shell),
            (2001, Range::Fixed),
            (9999, Range::Fixed),
            (10_000, Range::App),
            (19_999, Range::App),
            (20_000, Range::SdkSandbox),
            (29_999, Range::SdkSandbox),
            (30_000, Range::Other),
            (65_534, Range::Other),
            (89_999, Range::Other),
            (90_000, Range::Isolated),
            (99_999, Range::Isolated),
            (100_000, Range::Other),
        ];
        for (uid, range) in expected {
            assert_eq!(parts(uid).2, range, "{uid}");
        }
    }

    #[test]
    fn a_sandbox_belongs_to_its_app_and_an_isolated_process_to_nobody_known() {
        assert_eq!(Parts::of(1_020_123).unwrap().package_id(), Some(10_123));
        assert_eq!(Parts::of(99_001).unwrap().package_id(), None);
        assert_eq!(Parts::of(1001).unwrap().package_id(), Some(1001));
    }

    #[test]
    fn minus_one_is_no_uid_and_the_largest_uid_still_splits() {
        assert_eq!(Parts::of(u32::MAX), None);
        assert_eq!(parts(u32::MAX - 1), (42_949, 67_294, Range::Other));
    }

    #[test]
    fn the_limits_are_those_of_the_aid_table() {
        let limit = |name: &str| super::super::aid::limit(name).unwrap();
        assert_eq!(limit("user_offset"), USER_OFFSET);
        assert_eq!((limit("app_start"), limit("app_end")), (APP_START, APP_END));
        assert_eq!(
            (limit("sdk_sandbox_process_start"), limit("sdk_sandbox_process_end")),
            (SDK_SANDBOX_START, SDK_SANDBOX_END)
        );
        assert_eq!((limit("isolated_start"), limit("isolated_end")), (ISOLATED_START, ISOLATED_END));
        let names = ["oem_reserved", "oem_reserved_2", "system_reserved", "odm_reserved", "product_reserved"];
        for (name, range) in names.into_iter().chain(["system_ext_reserved"]).zip(RESERVED) {
            assert_eq!((limit(&format!("{name}_start")), limit(&format!("{name}_end"))), range, "{name}");
        }
    }
}
