package cbpnet.core

import java.util.Locale

/** What a journal has in a row: a lesson or a correction. */
public sealed interface Event {
    /** When it was, in whole seconds since 1970, UTC. */
    public val time: Long
}

/**
 * A lesson.
 *
 * @property id tells lessons apart, on whatever devices they were learnt.
 * @property source where its images came from, in words.
 * @property names its classes, in the order in which they were taught.
 * @property counts images of each class, as they were taught.
 * @property reason why it did or did not adapt the features.
 * @property accuracy as in [Decision].
 */
public class Taught internal constructor(
    public val id: String,
    override val time: Long,
    public val source: String,
    public val names: List<String>,
    public val counts: List<Int>,
    public val reason: Reason,
    public val accuracy: Double?,
    internal val left: Left,
) : Event {
    /** The lesson without what counts it again. */
    internal fun settled(): Taught = leaving(Left.NOTHING)

    /** The lesson with some rows of its images alone. */
    internal fun only(rows: List<Int>): Taught = leaving(left.only(rows))

    private fun leaving(left: Left) = Taught(id, time, source, names, counts, reason, accuracy, left)
}

/**
 * What a lesson leaves to be counted again; nothing once it is settled.
 *
 * @property labels the class of each image, as a place in [Taught.names].
 * @property pictures [pictureKey] of each image.
 * @property x features as they were counted, a row for each image.
 * @property adapted the tensors that an adaptation left in the state; empty without one.
 * @property drift the sums by which older statistics were carried over it, those by class of the
 *   classes [kept] alone; empty where nothing was known before.
 * @property kept the classes that had kept pictures.
 */
internal class Left(
    val labels: List<Int>,
    val pictures: List<ULong>,
    val x: HalfRows,
    val adapted: State,
    val drift: State,
    val kept: List<String>,
) {
    /** The size of its arrays in bytes. */
    val bytes: Long
        get() = (Int.SIZE_BYTES + ULong.SIZE_BYTES).toLong() * labels.size + Short.SIZE_BYTES * x.bits.size +
            (adapted.values + drift.values).sumOf { Float.SIZE_BYTES.toLong() * it.values.size }

    /** The same of some images alone. */
    fun only(rows: List<Int>): Left =
        Left(rows.map(labels::get), rows.map(pictures::get), x.only(rows), adapted, drift, kept)

    companion object {
        val NOTHING = Left(emptyList(), emptyList(), HalfRows.NONE, emptyMap(), emptyMap(), emptyList())
    }
}

/** How earlier lessons are corrected; [label] is what a state file says. */
public enum class EditKind(internal val label: String) {
    FORGET("forget"),
    RENAME("rename"),
    MERGE("merge"),
    RELABEL("relabel"),
}

/**
 * A correction of earlier lessons.
 *
 * @property label the class that is forgotten, gets the name [new], or whose images become those of the
 *   class [new]; empty where images are relabelled.
 * @property pictures the images that are relabelled, whatever class they are of, by [pictureKey].
 */
public class Edit internal constructor(
    public val kind: EditKind,
    override val time: Long,
    public val label: String,
    public val new: String = "",
    public val pictures: List<ULong> = emptyList(),
) : Event

/**
 * What a one-pass learner was taught, lesson by lesson, without a picture; its knowledge is [fold] of it.
 *
 * Beyond [limit] the oldest lessons are settled: they stay in what the fold starts from, and their
 * features are dropped.
 *
 * @property base the state that the fold starts from; [baseNames] are the classes that it knows.
 * @property events in the order in which they came about.
 * @property head how many of them are in force; those behind can be done again.
 * @property settled of so many the knowledge is in [base]; they cannot be undone.
 * @property limit bytes that what lessons leave may take; 0 keeps nothing.
 */
public class Journal internal constructor(
    internal val base: State,
    internal val baseNames: List<String>,
    public val events: List<Event> = emptyList(),
    public val head: Int = 0,
    public val settled: Int = 0,
    public val limit: Long = LIMIT,
) {
    /** The events that knowledge is made of. */
    public val inForce: List<Event> get() = events.take(head)

    /** Whether the last event in force can be undone. */
    public val canUndo: Boolean get() = head > settled

    /** Whether an event was undone that can be done again. */
    public val canRedo: Boolean get() = head < events.size

    /** The number of lessons in force. */
    internal val lessons: Int get() = inForce.count { it is Taught }

    /** The size of what the lessons leave in bytes. */
    internal val bytes: Long get() = events.sumOf(::bytesOf)

    /** Whether the events in force change nothing that the base does not know. */
    internal val restsOnBase: Boolean
        get() = inForce.none { it is Taught && it.left.labels.isNotEmpty() } &&
            inForce.drop(settled).none { it is Edit }

    /** The journal under another limit. */
    internal fun limited(limit: Long): Journal = Journal(base, baseNames, events, head, settled, limit)

    /** The journal with one more event; what had been undone is given up. */
    internal fun followedBy(event: Event): Journal =
        Journal(base, baseNames, inForce + event, head + 1, settled, limit)

    /**
     * The journal without its last event in force.
     *
     * @throws InputException none is in force, or the last one is settled.
     */
    internal fun undone(): Journal {
        if (head == 0) throw InputException("Nothing has been learnt or changed that could be undone.")
        if (!canUndo) {
            throw InputException(
                "The last lesson cannot be undone: its features are not in the journal any more, which keeps " +
                    "%.1f MB.".format(Locale.ROOT, limit / 1e6),
            )
        }
        return Journal(base, baseNames, events, head - 1, settled, limit)
    }

    /**
     * The journal with the event in force again that was undone last.
     *
     * @throws InputException none was undone, or something was learnt or changed since.
     */
    internal fun redone(): Journal {
        if (!canRedo) throw InputException("Nothing was undone that could be done again.")
        return Journal(base, baseNames, events, head + 1, settled, limit)
    }

    internal companion object {
        const val LIMIT = 1L shl 23
    }
}

/** The size of what an event leaves to be counted again, in bytes. */
internal fun bytesOf(event: Event): Long = if (event is Taught) event.left.bytes else 0
