package cbpnet.core

private const val LEFT = 0.75 // of the limit, so that not every lesson has to settle another

/**
 * A journal within its limit; the oldest lessons are settled where they have to be.
 *
 * What was undone is given up with them, and corrections that were made so far cannot be undone any
 * more.
 *
 * @param known what the journal folds to.
 */
internal fun bounded(learner: OnePassProgram, journal: Journal, known: Folded): Journal {
    if (journal.bytes <= journal.limit) return journal
    val events = journal.inForce
    var last = events.size
    while (last > 0 && events.drop(last - 1).sumOf(::bytesOf) <= LEFT * journal.limit) last--
    val headers = events.take(last).map { if (it is Taught) it.settled() else it }
    val settled = maxOf(last, journal.settled, events.indexOfLast { it is Edit } + 1)
    val base = if (last < events.size) settle(learner, journal, known, last) else known
    return Journal(base.state, base.classNames, headers + events.drop(last), events.size, settled, journal.limit)
}

/** What the first [last] events and all edits make. */
private fun settle(learner: OnePassProgram, journal: Journal, known: Folded, last: Int): Folded {
    val resolved = resolve(journal)
    val first = resolved.lessons.take(journal.inForce.take(last).count { it is Taught })
    val names = numbered(resolved.base, first)
    val state = counted(learner, startOf(journal, resolved.base), first, names)
    val places = known.classNames.withIndex().associate { it.value to it.index }
    val today = remembered(learner, journal, resolved.lessons, places)
    val old = Remembered(today.lessons.take(first.size), today.evidence, today.calibration)
    val heard = hear(learner, known.state, old)
    val said = mapOf(
        "readout.evidence" to (heard?.evidence ?: old.evidence),
        "readout.calibration" to (heard?.calibration ?: old.calibration),
    )
    return Folded(state + said, names.keys.toList())
}
