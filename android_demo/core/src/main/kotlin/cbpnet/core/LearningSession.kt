package cbpnet.core

import java.util.concurrent.CancellationException

/** A picture that can be decoded when it is needed. */
public interface Picture {
    /** What messages call it. */
    public val name: String

    /**
     * The image, upright.
     *
     * @throws Exception it cannot be decoded.
     */
    public fun decode(): RgbImage
}

/**
 * What was learnt in one task.
 *
 * @property task its number, counted from 1.
 * @property new labels that were not known before; [known] are the others.
 * @property images how many pictures it was learnt from.
 */
public data class Lesson(val task: Int, val new: List<String>, val known: List<String>, val images: Int)

/**
 * A bundle's learner and what it has learnt so far, kept in a [StateStore].
 *
 * It may be used by several threads: [predict] answers with what was known when it was called, also
 * while a lesson runs; of two changes the second waits for the first. Every change is all or
 * nothing, and saved before the call returns. Nothing here is for an app's main thread.
 *
 * @param store where to keep what is learnt and go on from; null keeps it in memory only.
 * @param random the random numbers of a lesson, by its seed and its task.
 * @throws InputException the bundle cannot be used, or the stored state does not go with it.
 */
public class LearningSession(
    program: Program,
    private val store: StateStore?,
    private val random: (seed: Int, task: Int) -> RandomNumbers = ::SeededNumbers,
) {
    /** What the bundle says of itself. */
    public val manifest: Manifest = program.manifest
    private val learner = BundleLearner(program)
    private val restored = store?.load(manifest)
    private val changing = Any()

    /** Where an older state had to be taken at the start, a sentence about it. */
    public val note: String? = restored?.note

    /** What is known. */
    @Volatile
    public var knowledge: Knowledge =
        restored?.knowledge ?: Knowledge(learner.storedState(), manifest.classNames, lessons = 0)
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
        val found = learner.predict(known.state, prepared, learner.query(prepared))
        return found.scores.zip(found.tasks) { scores, task -> rank(scores, task, known.classNames) }
    }

    /**
     * Learns from pictures by label and returns the lessons, one for each task.
     *
     * Known classes are learnt in their own task, task after task; new ones begin a task of their
     * own, the last, unless they join a known one. Until it returns, nothing has been learnt.
     *
     * @param pictures by label; new labels are as [cleanLabel] gives them.
     * @param joinedTask the number, counted from 1, of the known task that new classes join.
     * @param progress is told of each picture once when it is read and once in each epoch.
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
        cancelled: () -> Boolean = { false },
    ): List<Lesson> = synchronized(changing) {
        checkCounts(pictures)
        val before = knowledge
        val plan = planLessons(before, manifest, pictures.keys, joinedTask?.minus(1))
        store?.checkRoom(manifest)
        val names = before.classNames + pictures.keys.filter { it !in before.classNames }
        val total = pictures.values.sumOf { it.size } * (1 + settings.epochs)
        var done = 0
        val count = { images: Int ->
            done += images
            progress(done, total)
        }
        val check = { if (cancelled()) throw CancellationException("learning was cancelled") }
        val state = plan.entries.fold(before.state) { state, (task, labels) ->
            val shown = labels.flatMap { label -> pictures.getValue(label).map { it to names.indexOf(label) } }
            val examples = shown.chunked(learner.microBatch).flatMap { lookAt(it, check, count) }
            learnTask(learner, state, task, examples, settings, random(before.lessons, task), count, check)
        }
        change(Knowledge(state, names, before.lessons + 1))
        plan.map { (task, labels) ->
            val (known, new) = labels.partition { it in before.classNames }
            Lesson(task + 1, new, known, labels.sumOf { pictures.getValue(it).size })
        }
    }

    /**
     * Gives a class another name.
     *
     * @throws InputException the new name cannot be used.
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun rename(label: String, typed: String): Unit = synchronized(changing) {
        val known = knowledge
        val number = known.classNames.indexOf(label)
        require(number >= 0) { "class $label is not known" }
        val new = cleanLabel(typed)
        checkNewLabel(new, known.classNames - label)
        change(Knowledge(known.state, known.classNames.toMutableList().also { it[number] = new }, known.lessons))
    }

    /**
     * Forgets a class, and its task where it was the only class of it.
     *
     * @throws StorageException the change could not be saved, and [unsaved] is set.
     */
    public fun forget(label: String): Unit = synchronized(changing) {
        change(forget(knowledge, label, manifest.state))
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
        synchronized(changing) { change(decodeState(bytes, manifest, name)) }

    /**
     * Saves what is known once more, after it could not be saved.
     *
     * @throws StorageException it cannot be saved now either.
     */
    public fun save(): Unit = synchronized(changing) { change(knowledge) }

    private fun change(after: Knowledge) {
        knowledge = after
        unsaved = store != null
        store?.save(after, manifest)
        unsaved = false
    }

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

    /** Pictures with their class numbers, each decoded once, with their query features. */
    private fun lookAt(shown: List<Pair<Picture, Int>>, check: () -> Unit, count: (Int) -> Unit): List<Example> {
        check()
        val images = shown.map { (picture, _) -> decoded(picture) }
        val queries = learner.query(images)
        count(shown.size)
        return shown.indices.map { Example(images[it], queries[it], shown[it].second) }
    }

    private fun decoded(picture: Picture): RgbImage = try {
        prepare(picture.decode(), manifest.preprocessing)
    } catch (error: Exception) {
        throw InputException("The picture ${picture.name} cannot be used (${error.message}). Delete it.", error)
    }

    public companion object {
        /** The most pictures of one lesson: they are held in memory, at 224 pixels 150 kB each. */
        public const val MOST_PICTURES: Int = 300
    }
}
