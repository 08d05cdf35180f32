//! Lists of hosts that others keep (block lists and the like): which of them a name stands on.
//!
//! Two forms, told apart line by line: that of `/etc/hosts` (an address and names: each name alone), and a domain a line
//! (with everything under it). `#` begins a comment. Reads what it is given; everything else is pure.

use std::io::{self, BufRead};
use std::net::IpAddr;

use super::hosts::normal;
use super::many_hosts::ManyHosts;

/// Wrong lines that are told of one by one; all are counted.
const TOLD: usize = 5;
/// A longer line is none of a host list.
const LONGEST_LINE: usize = 4096;
/// What hosts files say of the machine itself.
const OWN: [&str; 6] =
    ["localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback"];

/// All lists.
#[derive(Clone, Default)]
pub struct Lists {
    names: Vec<String>,
    hosts: ManyHosts,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Names that were not on this list before.
    pub names: usize,
    /// Lines without a host name.
    pub wrong: usize,
    /// Line numbers, from 1, of the first ones of these.
    pub first_wrong: Vec<usize>,
}

impl Lists {
    /// Adds what stands in a file to the list of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(&mut self, name: &str, mut file: impl BufRead) -> io::Result<Loaded> {
        let number = self.number(name)?;
        let mut loaded = Loaded::default();
        let mut line = Vec::new();
        for line_number in 1.. {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let read = if line.len() > LONGEST_LINE { None } else { std::str::from_utf8(&line).ok() };
            match read.map(|line| self.take(line, number)) {
                Some(Ok(())) => {}
                Some(Err(())) | None => {
                    loaded.wrong += 1;
                    if loaded.first_wrong.len() < TOLD {
                        loaded.first_wrong.push(line_number);
                    }
                }
            }
        }
        let before = self.hosts.len();
        loaded.names = self.hosts.settle().saturating_sub(before);
        Ok(loaded)
    }

    fn number(&mut self, name: &str) -> io::Result<u16> {
        let known = self.names.iter().position(|known| known == name);
        let number = known.unwrap_or(self.names.len());
        let number = u16::try_from(number).ok().filter(|&number| number < ManyHosts::MOST_NUMBERS);
        if known.is_none() {
            self.names.push(name.to_owned());
        }
        number.ok_or_else(|| io::Error::other("too many lists"))
    }

    /// Takes a line.
    fn take(&mut self, line: &str, number: u16) -> Result<(), ()> {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { return Ok(()) };
        if first.parse::<IpAddr>().is_err() {
            let name = normal(first).filter(|_| words.next().is_none()).ok_or(())?;
            self.hosts.push(&name, false, number);
            return Ok(());
        }
        for word in words {
            let name = normal(word).ok_or(())?;
            if !OWN.contains(&name.as_str()) {
                self.hosts.push(&name, true, number);
            }
        }
        Ok(())
    }

    /// Numbers of the lists that a host stands on; the host in lower case.
    pub fn of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = u16> + 'a {
        self.hosts.find_all(host)
    }

    /// What a list is called.
    #[must_use]
    pub fn name(&self, number: u16) -> Option<&str> {
        self.names.get(usize::from(number)).map(String::as_str)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Names on all lists.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str =
        "# a list\n127.0.0.1 localhost\n0.0.0.0 ads.example track.example # both\n\n::1 x y z\n";

    #[test]
    fn both_forms_are_read() {
        let mut lists = Lists::default();
        let loaded = lists.load("ads", HOSTS.as_bytes()).unwrap();
        assert_eq!(loaded, Loaded { names: 5, wrong: 0, first_wrong: vec![] });
        let loaded = lists.load("mine", "Example.NET\r\nb@d\nads.example\ntwo words\n".as_bytes()).unwrap();
        assert_eq!(loaded, Loaded { names: 2, wrong: 2, first_wrong: vec![2, 4] });
        let of = |host| lists.of(host).filter_map(|number| lists.name(number)).collect::<Vec<_>>();
        assert_eq!(of("ads.example"), ["ads", "mine"]);
        assert_eq!(of("under.ads.example"), ["mine"]);
        assert_eq!(of("www.example.net"), ["mine"]);
        assert_eq!(of("localhost"), [] as [&str; 0]);
    }

    #[test]
    fn bytes_of_any_kind_are_counted_and_not_taken() {
        let mut file = vec![0xff; 100];
        file.push(b'\n');
        file.extend_from_slice(&vec![b'a'; 10_000]);
        file.extend_from_slice(b"\ngood.example");
        let mut lists = Lists::default();
        let loaded = lists.load("x", file.as_slice()).unwrap();
        assert_eq!((loaded.names, loaded.wrong), (1, 2));
    }
}
