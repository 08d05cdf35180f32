//! Leaves out the points of an arc that matter least (Visvalingam and Whyatt, 1993).

use super::project::project_unwrapped;
use super::topology::Position;

/// Points whose triangle with their neighbours is smaller, in square units of the drawing, are left out.
const LEAST: f64 = 2.6;

/// An arc without the points that matter least; its ends stay, so that countries still meet.
pub fn simplify(arc: &[Position]) -> Vec<Position> {
    let mut kept: Vec<(Position, (f64, f64))> =
        arc.iter().map(|&place| (place, project_unwrapped(place))).collect();
    // A closed arc (an island) needs four points to have an inside.
    let least = if arc.first() == arc.last() { 4 } else { 2 };
    while kept.len() > least {
        let areas = kept.windows(3).map(|three| triangle(three[0].1, three[1].1, three[2].1));
        let smallest = areas.enumerate().min_by(|one, other| one.1.total_cmp(&other.1));
        match smallest {
            Some((before, area)) if area < LEAST => {
                kept.remove(before + 1);
            }
            _ => break,
        }
    }
    kept.into_iter().map(|(place, _)| place).collect()
}

fn triangle(a: (f64, f64), b: (f64, f64), c: (f64, f64)) -> f64 {
    ((b.0 - a.0) * (c.1 - a.1) - (c.0 - a.0) * (b.1 - a.1)).abs() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_are_left_out_and_corners_stay() {
        let arc = [(0.0, 0.0), (5.0, 0.01), (10.0, 0.0), (10.0, 5.0), (10.01, 10.0)];
        assert_eq!(simplify(&arc), [(0.0, 0.0), (10.0, 0.0), (10.01, 10.0)]);
    }

    #[test]
    fn an_island_keeps_an_inside() {
        let island = [(0.0, 0.0), (0.01, 0.0), (0.01, 0.01), (0.0, 0.01), (0.0, 0.0)];
        assert_eq!(simplify(&island).len(), 4);
    }
}
