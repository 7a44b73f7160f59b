"""stay (dwell): how long an encounter may, or must, be in a place (contract, section 4)."""

from timeline import DROP, at, cases, just_after, minutes, rule, verdict, verdicts

IN = at(0, "admit", to="icu")


def stay(**keys):
    """In intensive care for at most 30 minutes."""
    return rule(**{"stay": "icu", "at_most": "30m"} | keys)


def test_leaving_exactly_at_the_deadline_is_in_time():
    assert verdict(stay(), IN, at(30, "transfer", to="ward")) == "met"


def test_leaving_after_the_deadline_is_late():
    assert verdict(stay(), IN, at(40, "transfer", to="ward")) == "late by 10"


def test_who_is_still_there_after_the_deadline_is_overdue():
    assert verdict(stay(), IN, now=30) == "open"
    assert verdict(stay(), IN, now=just_after(30)) == "overdue"


def test_by_default_it_is_never_given_up():
    assert verdict(stay(), IN) == "overdue"


def test_give_up_counts_from_the_deadline():
    assert verdict(stay(give_up="1h"), IN, now=90) == "overdue"
    assert verdict(stay(give_up="1h"), IN, now=just_after(90)) == "missed: gave_up"
    assert verdict(stay(give_up="1h"), IN, at(100, "discharge")) == "late by 70"


def test_a_case_tells_who_came_from_where_and_when():
    (case,) = cases(stay(), at(-5, "admit", to="ed"), at(0, "transfer", to="ICU^3"), at(20, "discharge"))
    assert (case.trigger, case.from_, case.to) == ("transfer@0", "ed", "icu")
    assert (minutes(case.due_at), minutes(case.decided_at)) == (30, 20)


def test_a_discharge_ends_the_stay():
    assert verdict(stay(), IN, at(20, "discharge")) == "met"


def test_a_move_between_two_matching_places_decides_nothing():
    either = stay(stay=["icu", "hdu"])
    assert verdict(either, IN, at(20, "transfer", to="hdu"), now=25) == "open"
    assert verdict(either, IN, at(20, "transfer", to="hdu"), at(45, "discharge")) == "late by 15"
    assert verdict(stay(stay="kind:icu"), IN, at(20, "transfer", to="hdu"), now=25) == "open"


def test_a_move_between_two_beds_decides_nothing():
    assert verdict(stay(), at(0, "admit", to="ICU^1"), at(20, "transfer", to="ICU^2"), now=25) == "open"


def test_coming_back_is_another_stay():
    events = [IN, at(10, "transfer", to="ward"), at(20, "transfer", to="icu"), at(60, "discharge")]
    assert verdicts(stay(), *events) == ["met", "late by 10"]


def test_each_encounter_has_its_own_stay():
    events = [at(0, "admit", to="icu", encounter="a"), at(5, "admit", to="icu", encounter="b")]
    assert verdicts(stay(), *events, at(20, "discharge", encounter="a"), now=25) == ["met", "open"]


def test_an_event_with_a_place_that_moves_no_one_opens_no_stay():
    assert verdicts(stay(), at(0, "pending_transfer", to="icu"), at(5, "update", to="icu")) == []


def test_a_cancelled_departure_was_none():
    events = [IN, at(20, "transfer", to="ward"), at(25, "cancel_transfer", cancels="transfer@20")]
    assert verdict(stay(), *events, now=28) == "open"


def test_active_restricts_the_event_that_opens_it():
    nights = stay(active={"hours": "20:00-08:00"})
    assert verdicts(nights, IN, at(40, "discharge")) == []


# -- unless ------------------------------------------------------------------------------------------------


def test_unless_before_leaving_makes_it_void():
    assert verdict(stay(unless=DROP), IN, at(10, "drop"), at(20, "discharge")) == "void: unless"
    assert verdict(stay(unless=DROP), IN, at(30, "drop"), at(40, "discharge")) == "void: unless"


def test_unless_after_the_deadline_abandons_it():
    assert verdict(stay(unless=DROP), IN, at(31, "drop")) == "missed: abandoned"


def test_unless_after_leaving_changes_nothing():
    assert verdict(stay(unless=DROP), IN, at(10, "discharge"), at(20, "drop")) == "met"


def test_void_comes_before_left_too_early():
    early = stay(at_least="20m", unless=DROP)
    assert verdict(early, IN, at(5, "drop"), at(10, "discharge")) == "void: unless"
    assert verdict(early, IN, at(5, "discharge"), at(10, "drop")) == "violated: left_early"


# -- at_least ----------------------------------------------------------------------------------------------

AT_LEAST = rule(stay="icu", at_least="30m")


def test_leaving_before_at_least_is_a_violation():
    (case,) = cases(AT_LEAST, IN, at(29, "discharge"))
    assert (case.verdict, minutes(case.decided_at)) == ("violated", 29)
    assert verdict(AT_LEAST, IN, at(30, "discharge")) == "met"


def test_with_at_least_only_it_is_open_until_the_patient_leaves():
    (case,) = cases(AT_LEAST, IN)
    assert (case.verdict, case.overdue, case.due_at) == ("open", False, None)
    assert verdict(AT_LEAST, IN, at(50_000, "discharge"), now=60_000) == "met"


def test_between_at_least_and_at_most_is_right():
    both = stay(at_least="10m")
    assert verdict(both, IN, at(9, "discharge")) == "violated: left_early"
    assert verdict(both, IN, at(10, "discharge")) == "met"
    assert verdict(both, IN, at(31, "discharge")) == "late by 1"


# -- pause -------------------------------------------------------------------------------------------------

PAUSED = stay(pause="leave")


def test_a_leave_stops_the_time():
    away = [IN, at(10, "leave"), at(40, "return")]
    assert verdict(PAUSED, *away, at(60, "discharge")) == "met"
    assert verdict(PAUSED, *away, at(65, "discharge")) == "late by 5"


def test_while_a_leave_lasts_there_is_no_deadline():
    (case,) = cases(PAUSED, IN, at(10, "leave"))
    assert (case.verdict, case.overdue, case.due_at) == ("open", False, None)


def test_after_the_return_the_deadline_is_later_by_the_leave():
    (case,) = cases(PAUSED, IN, at(10, "leave"), at(40, "return"), now=50)
    assert (case.verdict, minutes(case.due_at)) == ("open", 60)


def test_two_leaves_stop_it_twice():
    away = [at(10, "leave"), at(20, "return"), at(25, "leave"), at(45, "return")]
    assert verdict(PAUSED, IN, *away, at(60, "discharge")) == "met"
    assert verdict(PAUSED, IN, *away, at(61, "discharge")) == "late by 1"


def test_a_leave_exactly_at_the_deadline_stops_it_too():
    assert verdict(PAUSED, IN, at(30, "leave"), now=60) == "open"


def test_a_leave_after_the_deadline_stops_nothing():
    assert verdict(PAUSED, IN, at(31, "leave"), now=60) == "overdue"


def test_leaving_for_good_during_a_leave_is_in_time():
    assert verdict(PAUSED, IN, at(10, "leave"), at(500, "discharge")) == "met"


def test_without_pause_a_leave_is_part_of_the_stay():
    assert verdict(stay(), IN, at(10, "leave"), now=31) == "overdue"


def test_a_leave_of_another_encounter_stops_nothing():
    mine, other = at(0, "admit", to="icu", encounter="a"), at(10, "leave", encounter="b")
    assert verdict(PAUSED, mine, other, now=31) == "overdue"


def test_at_least_goes_on_during_a_leave():
    both = stay(at_least="20m", pause="leave")
    assert verdict(both, IN, at(5, "leave"), at(15, "return"), at(20, "discharge")) == "met"
