//! Rings of places to the path of an SVG: cut at the edge of the map, projected, in whole numbers.

use std::fmt::Write as _;

use super::project::{MIDDLE, project_unwrapped};
use super::topology::{Position, Shape, Topology};

/// Rings with a smaller area, in square units of the drawing, are not drawn. The country keeps its point.
const LEAST_RING: f64 = 7.0;

type Point = (f64, f64);

/// A country on the drawing.
#[derive(Default)]
pub struct Outline {
    /// Where its figure stands: the middle of its largest part.
    pub point: Option<Point>,
    /// Of the part that the point is in.
    area: f64,
    pub path: String,
}

impl Outline {
    /// Takes in another part of the same country.
    pub fn add(&mut self, part: &Self) {
        self.path.push_str(&part.path);
        if part.area > self.area || self.point.is_none() {
            (self.area, self.point) = (part.area, part.point);
        }
    }
}

/// Draws a country.
pub fn outline(atlas: &Topology, shape: &Shape) -> Outline {
    let mut whole = Outline::default();
    for ring in atlas.polygons(shape).iter().flatten() {
        for part in within_edges(ring) {
            let points: Vec<Point> = part.into_iter().map(project_unwrapped).collect();
            let (area, middle) = area_and_middle(&points);
            let path = if area < LEAST_RING { String::new() } else { path(&points) };
            whole.add(&Outline { point: middle, area, path });
        }
    }
    whole
}

/// The parts of a ring that lie on the map; what is beyond an edge goes on at the other one.
fn within_edges(ring: &[Position]) -> Vec<Vec<Position>> {
    let (west, east) = (MIDDLE - 180.0, MIDDLE + 180.0);
    let shifts = [-360.0, 0.0, 360.0].into_iter();
    let parts = shifts.map(|shift| {
        let moved: Vec<Position> = ring.iter().map(|&(x, y)| (x + shift, y)).collect();
        cut(&cut(&moved, west, |x| x >= west), east, |x| x <= east)
    });
    parts.filter(|part| part.len() >= 3).collect()
}

/// What of a ring lies on one side of a meridian (Sutherland and Hodgman).
fn cut(ring: &[Position], meridian: f64, is_inside: impl Fn(f64) -> bool) -> Vec<Position> {
    let mut inside = Vec::with_capacity(ring.len());
    for (from, to) in ring.iter().copied().zip(ring.iter().copied().cycle().skip(1)) {
        if is_inside(from.0) {
            inside.push(from);
        }
        if is_inside(from.0) != is_inside(to.0) {
            let share = (meridian - from.0) / (to.0 - from.0);
            inside.push((meridian, from.1 + share * (to.1 - from.1)));
        }
    }
    inside
}

/// Area, and the middle of it.
fn area_and_middle(ring: &[Point]) -> (f64, Option<Point>) {
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    let next = ring.iter().cycle().skip(1);
    for (a, b) in ring.iter().zip(next) {
        let cross = a.0 * b.1 - b.0 * a.1;
        area += cross / 2.0;
        x += (a.0 + b.0) * cross;
        y += (a.1 + b.1) * cross;
    }
    if area.abs() < 1e-9 {
        return (0.0, ring.first().copied());
    }
    (area.abs(), Some((x / (6.0 * area), y / (6.0 * area))))
}

/// `m` with the first point, then differences: shorter than absolute numbers.
fn path(ring: &[Point]) -> String {
    let mut text = String::new();
    let mut last: Option<(i64, i64)> = None;
    for &(x, y) in ring {
        let here = (whole(x), whole(y));
        let (dx, dy) = match last {
            None => here,
            Some(last) if last == here => continue,
            Some(last) => (here.0 - last.0, here.1 - last.1),
        };
        // Writing to a String cannot fail.
        let _ = match last {
            None => write!(text, "M{dx},{dy}l"),
            Some(_) => {
                let before = if text.ends_with('l') || dx < 0 { "" } else { " " };
                let between = if dy < 0 { "" } else { "," };
                write!(text, "{before}{dx}{between}{dy}")
            }
        };
        last = Some(here);
    }
    text.push('z');
    text
}

#[allow(clippy::cast_possible_truncation, reason = "a drawing is some thousand units wide")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_start_and_differences() {
        assert_eq!(
            path(&[(10.0, 20.4), (12.0, 20.0), (12.1, 20.2), (9.0, 15.0), (10.0, 18.0)]),
            "M10,20l2,0-3-5 1,3z"
        );
    }

    #[test]
    fn what_is_beyond_the_edge_goes_on_at_the_other_one() {
        let ring = [(185.0, 0.0), (195.0, 0.0), (195.0, 10.0), (185.0, 10.0), (185.0, 0.0)];
        let parts = within_edges(&ring);
        assert_eq!(parts.len(), 2);
        let widest = |part: &[Position]| part.iter().map(|point| point.0).fold(f64::MIN, f64::max);
        assert!((widest(&parts[0]) + 165.0).abs() < 1e-9, "{parts:?}");
        assert!((widest(&parts[1]) - 191.0).abs() < 1e-9, "{parts:?}");
    }

    #[test]
    fn the_middle_of_a_square_is_its_middle() {
        let (area, middle) = area_and_middle(&[(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]);
        assert!((area - 4.0).abs() < 1e-9);
        assert_eq!(middle, Some((1.0, 1.0)));
    }
}
