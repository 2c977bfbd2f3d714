package cbpnet.core

import java.util.concurrent.CancellationException

/**
 * What was learnt at once.
 *
 * @property task its number, counted from 1, where the bundle has tasks, else null.
 * @property new labels that were not known before; [known] are the others.
 * @property images how many pictures it was learnt from.
 * @property decision whether a one-pass bundle adapted its features and why; null for another.
 */
public data class Lesson(
    val task: Int?,
    val new: List<String>,
    val known: List<String>,
    val images: Int,
    val decision: Decision? = null,
)

/**
 * A bundle's learner and what it has learnt so far, kept in a [StateStore].
 *
 * It may be used by several threads: [predict] answers with what was known when it was called, also
 * while a lesson runs; of two changes the second waits for the first. Every change is all or
 * nothing, and saved before the call returns. Nothing here is for an app's main thread.
 *
 * @param store where to keep what is learnt and go on from; null keeps it in memory only.
 * @throws InputException the bundle cannot be used, or the stored state does not go with it.
 */
public class LearningSession(program: Program, private val store: StateStore?) {
    /** What the bundle says of itself. */
    public val manifest: Manifest = program.manifest
    private val teacher: Teacher = if (manifest.onePass) OnePassTeacher(program) else TaskTeacher(program)
    private val restored = store?.load(manifest)
    private val changing = Any()

    /** Where an older state had to be taken at the start, a sentence about it. */
    public val note: String? = restored?.note

    /** What is known. */
    @Volatile
    public var knowledge: Knowledge =
        restored?.knowledge ?: teacher.start()
        private set

    /** Whether the last change could not be saved, and lives in memory only. */
    @Volatile
    public var unsaved: Boolean = false
        private set

    /**
     * Says what each image is taken for; images are upright.
     *
     * @throws InputException no class is known yet, or the bundle cannot be run.
     */
    public fun predict(images: List<RgbImage>): List<Prediction> {
        val known = knowledge
        if (known.classNames.isEmpty()) throw InputException("Nothing has been learnt yet. Teach a class first.")
        val prepared = images.map { prepare(it, manifest.preprocessing) }
        return teacher.classify(known.state, prepared).map { rank(it, known.classNames) }
    }

    /**
     * Learns from pictures by label and returns the lessons.
     *
     * A one-pass bundle learns known and new classes in one lesson, and decides when it has looked at
     * the pictures whether its features have to be adapted to them. A bundle with tasks has a lesson
     * for each: known classes are learnt in their own task, task after task; new ones begin a task of
     * their own, the last, unless they join a known one. Until it returns, nothing has been learnt.
     *
     * @param pictures by label; new labels are as [cleanLabel] gives them.
     * @param joinedTask the number, counted from 1, of the known task that new classes join.
     * @param progress is told of each picture once when it is read and once in each epoch; of a
     *   one-pass bundle where it adapts, and then once more.
     * @param decided is told what is still to come when a one-pass bundle has decided.
     * @param source where the pictures come from, for the journal.
     * @param journal bytes of features that a one-pass bundle keeps of its lessons, so that they can be
     *   undone and corrected; 0 keeps none. Null leaves it as before, 8 MB at first.
     * @param cancelled is asked before each step.
     * @throws CancellationException it was cancelled.
     * @throws InputException a name, a number of pictures or a picture cannot be used, there is no
     *   room for a class or its task, or the bundle cannot be run.
     * @throws StorageException there is no room to save what would be learnt; or, with [unsaved] set,
     *   it was learnt and could not be saved.
     */
    public fun learn(
        pictures: Map<String, List<Picture>>,
        settings: TrainingSettings = TrainingSettings(),
        joinedTask: Int? = null,
        progress: (done: Int, total: Int) -> Unit = { _, _ -> },
        decided: (Forecast) -> Unit = {},
        source: String = "",
        journal: Long? = null,
        cancelled: () -> Boolean = { false },
    ): List<Lesson> = synchronized(changing) {
        checkCounts(pictures)
        store?.checkRoom(manifest)
        val check = { if (cancelled()) throw CancellationException("learning was cancelled") }
        val how = Teaching(settings, joinedTask, Progress(progress), decided, check, source, journal)
        val taught = teacher.teach(knowledge, pictures, how)
        change(taught.knowledge)
        taught.lessons
    }

    /**
     * Gives a class another name.
     *
     * @throws InputException the new name cannot be used.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun rename(label: String, typed: String): Unit = synchronized(changing) {
        checkKnown(label)
        val new = cleanLabel(typed)
        checkNewLabel(new, knowledge.classNames - label)
        if (new != label) change(teacher.rename(knowledge, label, new))
    }

    /**
     * Forgets a class.
     *
     * A one-pass bundle then knows what it would know had the class never been taught, but for prompts
     * that were adapted to it, and for the spread of images that the journal has no more. Of a bundle with
     * tasks, its task goes too where it was the only class of it.
     *
     * @param forGood its features leave the journal, and nothing so far can be undone.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun forget(label: String, forGood: Boolean = false): Unit = synchronized(changing) {
        checkKnown(label)
        val without = teacher.forget(knowledge, label)
        change(if (forGood) without.purged() else without)
    }

    /**
     * Makes all pictures of a class those of another one, of a one-pass bundle.
     *
     * @throws InputException both are the same, the journal has the pictures of the first one no more, or
     *   the bundle has tasks.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun merge(label: String, into: String): Unit = synchronized(changing) {
        listOf(label, into).forEach(::checkKnown)
        change(teacher.correct(knowledge) { merge(it, label, into, now()) })
    }

    /**
     * Makes pictures that were taught, which are told by their pixels, those of a class, of a one-pass
     * bundle.
     *
     * @param typed a known class or the name of a new one.
     * @throws InputException the name or a picture cannot be used, a picture is in no lesson that the
     *   journal has, there is no room for a new class, or the bundle has tasks.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun relabel(pictures: List<Picture>, typed: String): Unit = synchronized(changing) {
        val label = cleanLabel(typed)
        if (label !in knowledge.classNames) checkNewLabel(label, knowledge.classNames)
        val keys = pictures.map { pictureKey(it.prepared(manifest.preprocessing)) }
        change(teacher.correct(knowledge) { relabel(it, keys, label, now()) })
    }

    /** The lessons and corrections that knowledge is made of, the oldest first; none where there are tasks. */
    public val history: List<Event> get() = knowledge.journal?.inForce.orEmpty()

    /**
     * Takes back the last lesson or correction of a one-pass bundle, and returns it.
     *
     * @throws InputException there is none, the journal has its features no more, or the bundle has tasks.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun undo(): Event = synchronized(changing) {
        val last = history.lastOrNull()
        change(teacher.correct(knowledge, Journal::undone))
        checkNotNull(last)
    }

    /**
     * Has what was undone last in force again, and returns it.
     *
     * @throws InputException nothing was undone, something was learnt or corrected since, or the bundle has
     *   tasks.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun redo(): Event = synchronized(changing) {
        change(teacher.correct(knowledge, Journal::redone))
        history.last()
    }

    /** The state file's bytes, for the laptop, the Raspberry Pi or another phone. */
    public fun exportState(): ByteArray = encodeState(knowledge, manifest)

    /**
     * Goes on from a state file's bytes, which another host may have written, instead of what is known.
     *
     * @param name what messages call the file.
     * @throws InputException it is damaged, no state, or one that does not go with this bundle.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun importState(bytes: ByteArray, name: String): Unit =
        synchronized(changing) {
            val imported = decodeState(bytes, manifest, name)
            change(imported, imported.saving)
        }

    /**
     * Saves what is known once more, after it could not be saved.
     *
     * @throws StorageException it cannot be saved now either.
     */
    public fun save(): Unit = synchronized(changing) { change(knowledge) }

    private fun change(after: Knowledge, saving: Saving = knowledge.saving.next) {
        knowledge = after.savedAs(saving)
        unsaved = store != null
        store?.save(knowledge, manifest)
        unsaved = false
    }

    private fun checkKnown(label: String) = require(label in knowledge.classNames) { "class $label is not known" }

    private fun checkCounts(pictures: Map<String, List<Picture>>) {
        pictures.entries.find { it.value.isEmpty() }?.let {
            throw InputException("There are no pictures of \"${it.key}\". Take some: 10 to 30 are good.")
        }
        val count = pictures.values.sumOf { it.size }
        if (count > MOST_PICTURES) {
            throw InputException(
                "$count pictures are too many for one lesson. Delete some, until there are at most $MOST_PICTURES.",
            )
        }
    }

    public companion object {
        /** The most pictures of one lesson: they are held in memory, at 224 pixels 150 kB each. */
        public const val MOST_PICTURES: Int = 300
    }
}
