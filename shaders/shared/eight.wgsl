// Eight columns of one row, in the order in which nibbles unpack: columns 0 2 4 6, then 1 3 5 7.
struct Eight { even: vec4<f32>, odd: vec4<f32> }
