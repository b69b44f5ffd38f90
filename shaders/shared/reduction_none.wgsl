// One lane a team: its sums are whole.
