package cbpnet.core

/** A state, and the labels of the classes that it knows, by number. */
internal class Folded(val state: State, val classNames: List<String>)

/**
 * What is known by the events of a journal that are in force: what would be known had it been right
 * from the start, but for the prompts, which stay as they were learnt.
 *
 * @throws InputException there is no room for its classes.
 */
internal fun fold(learner: OnePassProgram, journal: Journal): Folded {
    if (journal.restsOnBase) return Folded(solvedBase(learner, journal.base), journal.baseNames)
    val resolved = resolve(journal)
    val names = numbered(resolved.base, resolved.lessons)
    if (names.size > learner.classes) {
        throw InputException(
            "There would be ${names.size} classes, and there is room for ${learner.classes}. Forget some, or export " +
                "a bundle with room for more.",
        )
    }
    val counted = counted(learner, startOf(journal, resolved.base), resolved.lessons, names)
    val chosen = choose(learner, counted, remembered(learner, journal, resolved.lessons, names))
    val solved = learner.solve(chosen, chosen.number("readout.prior"), chosen.number("readout.scale"))
    return Folded(solved.state, names.keys.toList())
}

/** A base with its readout, where it knows a class: settling leaves the one from before. */
private fun solvedBase(learner: OnePassProgram, base: State): State =
    if (knownIn(base).isEmpty()) {
        base
    } else {
        learner.solve(base, base.number("readout.prior"), base.number("readout.scale")).state
    }

/** What a journal's lessons in force are by today's features, and what others said. */
internal fun remember(learner: OnePassProgram, journal: Journal): Remembered {
    val resolved = resolve(journal)
    return remembered(learner, journal, resolved.lessons, numbered(resolved.base, resolved.lessons))
}

/** The same of some lessons, whose classes have numbers. */
internal fun remembered(
    learner: OnePassProgram,
    journal: Journal,
    lessons: List<Rows>,
    names: Map<String, Int>,
): Remembered = lessons.fold(Remembered.nothing(journal.base)) { before, one ->
    val drift = one.lesson.left.drift
    val today = if (drift.isEmpty() || before.lessons.isEmpty()) {
        before
    } else {
        val map = learner.zeroDrift() + drift.filterKeys { it !in BY_CLASS }
        before.mapped(linearMap(learner, journal.base, map))
    }
    today.joined(LessonRows(one.x, one.names.map(names::getValue), one.pictures))
}

/**
 * A journal without the features of images that are of no class any more.
 *
 * It folds to the same; no event so far can be undone, nor what was undone be done again.
 */
internal fun purged(journal: Journal): Journal {
    val resolved = resolve(journal)
    val left = resolved.lessons.associate { it.lesson to it.numbers }
    val events = journal.inForce.map { if (it is Taught) it.only(left.getValue(it)) else it }
    val base = startOf(journal, resolved.base)
    return Journal(base, resolved.base.filterNotNull(), events, events.size, settled = events.size, journal.limit)
}

/**
 * What a journal keeps of the sums that an adaptation was carried over by: nothing where nothing was known
 * [before], and of the sums by class the rows of those classes, of [names], that have kept pictures.
 */
internal fun driftToKeep(before: State, names: List<String>, drift: State): Pair<State, List<String>> {
    if (drift.isEmpty() || knownIn(before).isEmpty()) return emptyMap<String, FloatTensor>() to emptyList()
    val kept = drift.getValue("count").values.withIndex().filter { it.value > 0 }.map { it.index }
    val sums = drift.mapValues { (name, tensor) -> if (name in BY_CLASS) rowsOf(tensor, kept) else tensor }
    return sums to kept.map(names::get)
}

/** The number of each class: in the order in which they were first taught. */
internal fun numbered(base: List<String?>, lessons: List<Rows>): Map<String, Int> =
    (base.filterNotNull() + lessons.flatMap { it.names }).distinct().withIndex().associate { it.value to it.index }

/** A state with lessons counted, each after what it did to the features. */
internal fun counted(learner: OnePassProgram, start: State, lessons: List<Rows>, names: Map<String, Int>): State =
    lessons.fold(start) { before, one ->
        val left = one.lesson.left
        val adapts = left.adapted.isNotEmpty()
        val moved = if (adapts) oneMore(before + left.adapted, "lessons.adapted") else before
        val carried = if (left.drift.isEmpty()) moved else learner.carry(moved, driftOf(learner, one, names))
        val counted = learner.observe(carried, one.x, one.names.map(names::getValue))
        if (one.names.isNotEmpty() || adapts) oneMore(counted, "lessons.count") else counted
    }

/** The state that a fold starts from, without classes that are forgotten. */
internal fun startOf(journal: Journal, classes: List<String?>): State {
    val left = classes.indices.filter { classes[it] != null }
    if (left.size == classes.size) return journal.base
    return journal.base + listOf("classes.count", "classes.mean").associateWith { name ->
        val tensor = journal.base.getValue(name)
        FloatTensor(rowsOf(tensor, left).values.copyOf(tensor.values.size), tensor.shape)
    }
}

/** The sums that a lesson keeps, with a row for each class as it is numbered now. */
private fun driftOf(learner: OnePassProgram, one: Rows, names: Map<String, Int>): State {
    val kept = one.lesson.left.drift
    return learner.zeroDrift().mapValues { (name, zeros) ->
        val sums = kept.getValue(name)
        if (name !in BY_CLASS) return@mapValues sums
        val values = zeros.values
        val width = values.size / zeros.shape[0]
        for ((row, label) in one.kept.withIndex()) {
            val number = label?.let(names::get) ?: continue
            for (i in 0 until width) values[number * width + i] += sums.values[row * width + i]
        }
        zeros
    }
}

private fun oneMore(state: State, name: String): State = state + (name to number(state.number(name) + 1))

/** Some rows of a tensor's first axis. */
private fun rowsOf(tensor: FloatTensor, rows: List<Int>): FloatTensor {
    val width = tensor.values.size / tensor.shape[0]
    val values = FloatArray(rows.size * width) { tensor.values[rows[it / width] * width + it % width] }
    return FloatTensor(values, listOf(rows.size) + tensor.shape.drop(1))
}
