package cbpnet.core

/**
 * Which saving of a state file it holds, as every host counts them.
 *
 * @property generation counts the savings of the file.
 * @property inbox identifies the last lesson that a board took from an inbox; empty if there was none.
 */
public data class Saving(val generation: Int = 0, val inbox: String = "") {
    /** The saving after this one. */
    internal val next: Saving get() = copy(generation = generation + 1)
}

/**
 * All that learning changes, in one object, so that it changes at once.
 *
 * @property state the state's tensors by name, as [Manifest.state] has them.
 * @property classNames the known classes' labels, by class number.
 * @property lessons how often something has been learnt on a device.
 * @property journal what the classes were learnt from; null where a bundle has tasks.
 * @property saving which saving of a state file it is.
 */
public class Knowledge(
    public val state: Map<String, FloatTensor>,
    public val classNames: List<String>,
    public val lessons: Int,
    public val journal: Journal? = null,
    public val saving: Saving = Saving(),
) {
    /** The number of tasks that have been begun, or of lessons where there are no tasks. */
    public val knownTasks: Int
        get() = (state["tasks.known"] ?: state.getValue("lessons.count")).values.sum().toInt()

    /** The task, counted from 0, that a known class belongs to. */
    public fun taskOf(label: String): Int = state.getValue("classes.task").values[classNames.indexOf(label)].toInt()

    /** The same, without features of images that are of no class any more; see [cbpnet.core.purged]. */
    internal fun purged(): Knowledge = Knowledge(state, classNames, lessons, journal?.let(::purged), saving)

    /** The same, as another saving. */
    internal fun savedAs(saving: Saving): Knowledge = Knowledge(state, classNames, lessons, journal, saving)

    /** The number of images that a known class has been learnt from. */
    public fun imagesOf(label: String): Int = state.getValue("classes.count").values[classNames.indexOf(label)].toInt()
}

/** What a class or task that is not known has in the state tensor [name]. */
internal fun unknownValue(name: String): Float = if (name == "classes.task") -1f else 0f
