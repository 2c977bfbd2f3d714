package cbpnet.core

/**
 * A lesson as all events in force leave it.
 *
 * @property numbers the rows of its features that are left, and [names] the class of each.
 * @property kept the names today of the classes with kept pictures, null for one that is forgotten.
 */
internal class Rows(val lesson: Taught, val numbers: List<Int>, val names: List<String>, val kept: List<String?>) {
    /** The features of a row as they were counted in the lesson. */
    val x: List<FloatArray> get() = numbers.map(lesson.left.x::row)

    /** The keys of the images. */
    val pictures: List<ULong> get() = numbers.map(lesson.left.pictures::get)
}

/** What edits leave of a journal: the classes of the [base], null for one that is forgotten, and lessons. */
internal class Resolved(val base: List<String?>, val lessons: List<Rows>)

/** Applies a journal's edits in force to the lessons before them. */
internal fun resolve(journal: Journal): Resolved {
    val base = journal.baseNames.toMutableList<String?>()
    val lessons = mutableListOf<Named>()
    for ((place, event) in journal.inForce.withIndex()) {
        when {
            event is Taught -> lessons += Named(event)
            event is Edit && event.kind == EditKind.RELABEL -> lessons.forEach { it.relabel(event) }
            event is Edit -> {
                val groups = lessons.flatMap { listOf(it.names, it.kept) }
                // What is settled stands under the names that edits had given it by then.
                val all = if (place < journal.settled) groups else groups.plusElement(base)
                for (group in all) group.replaceAll { if (it == event.label) event.new.ifEmpty { null } else it }
            }
        }
    }
    return Resolved(base, lessons.map(Named::rows))
}

/** A lesson and the names that edits so far give its images and classes. */
private class Named(val lesson: Taught) {
    val names: MutableList<String?> = lesson.left.labels.mapTo(mutableListOf()) { lesson.names[it] }
    val kept: MutableList<String?> = lesson.left.kept.toMutableList()

    fun relabel(edit: Edit) {
        val chosen = edit.pictures.toSet()
        for ((row, picture) in lesson.left.pictures.withIndex()) {
            if (picture in chosen && names[row] != null) names[row] = edit.new
        }
    }

    fun rows(): Rows = Rows(lesson, names.indices.filter { names[it] != null }, names.filterNotNull(), kept)
}
