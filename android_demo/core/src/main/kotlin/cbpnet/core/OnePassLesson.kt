package cbpnet.core

/** The pictures of a lesson, each decoded when it is first shown, and their class numbers. */
internal class LessonImages(pictures: List<Picture>, val labels: List<Int>, preprocessing: Preprocessing) {
    private val prepared = pictures.map { lazy(LazyThreadSafetyMode.NONE) { it.prepared(preprocessing) } }

    /** The classes. */
    val members: Set<Int> = labels.toSet()

    /** The images' [pictureKey]. */
    val keys: List<ULong> by lazy(LazyThreadSafetyMode.NONE) { show(labels.indices).map(::pictureKey) }

    /** Some images, prepared. */
    fun show(rows: Iterable<Int>): List<RgbImage> = rows.map { prepared[it].value }
}

/**
 * The [state] after a lesson, what was decided in it, and what a journal keeps of it.
 *
 * @property x the features that were counted.
 * @property adapted the tensors that an adaptation changed, and [drift] the sums that carried older
 *   statistics over it; both are empty without one.
 */
internal class LessonOutcome(
    val state: State,
    val decision: Decision,
    val x: List<FloatArray>,
    val adapted: State,
    val drift: State,
)

/**
 * A lesson of the one-pass learner: look, decide, perhaps adapt, and count.
 *
 * It does what `cbpnet/run/lesson.py` does, without kept pictures. Features x are a row [F] for each
 * of the images, of which none has been counted before.
 *
 * @param schedule of an adaptation.
 * @param remembered earlier lessons, which choose the readout together with this one; without them it
 *   does, and what its images say is added to what earlier ones' did.
 * @param looked is told of images that went through the backbone.
 * @param decided is told the decision once the images have been looked at.
 */
internal class OnePassLesson(
    private val learner: OnePassProgram,
    private val images: LessonImages,
    private val schedule: Schedule,
    private val remembered: Remembered,
    private val looked: (images: Int) -> Unit,
    private val decided: (Decision) -> Unit,
) {
    private val settings = learner.settings
    private val labels = images.labels

    /** What is known after the lesson; [seed] is of an adaptation's order. */
    fun learn(start: State, seed: Int): LessonOutcome {
        val x = look(start)
        val counted = chosen(learner.observe(start, x, labels), x, remembered)
        val decision = decide(start, counted, x)
        decided(decision)
        val lesson = start.number("lessons.count").toInt() + 1
        if (!decision.adapts) return LessonOutcome(solved(counted, lesson), decision, x, emptyMap(), emptyMap())

        // Apart, so that the order of images does not depend on whether tokens are replaced.
        val (order, units) = listOf(lesson, -lesson).map { RandomStream(seed, it) }
        val adapted = adapted(counted, x, order, units)
        val moved = start + adapted + ("lessons.adapted" to number(start.number("lessons.adapted") + 1))
        val after = look(moved)
        val drift = learner.compare(x, after)
        val carried =
            if (remembered.lessons.isEmpty()) remembered else remembered.mapped(linearMap(learner, moved, drift))
        val again = chosen(learner.observe(learner.carry(moved, drift), after, labels), after, carried)
        return LessonOutcome(solved(again, lesson), decision, after, adapted, drift)
    }

    private fun look(state: State): List<FloatArray> = labels.indices.chunked(learner.microBatch).flatMap { part ->
        learner.features(state, images.show(part)).map(::asCounted).also { looked(part.size) }
    }

    /** The counted state with its readout chosen. */
    private fun chosen(counted: State, x: List<FloatArray>, remembered: Remembered): State =
        choose(learner, counted, remembered.joined(LessonRows(x, labels, images.keys)))

    private fun solved(state: State, lesson: Int): State {
        val solved = learner.solve(state, state.number("readout.prior"), state.number("readout.scale"))
        return solved.state + ("lessons.count" to number(lesson.toFloat()))
    }

    private fun decide(start: State, counted: State, x: List<FloatArray>): Decision {
        val solved = learner.solve(counted, counted.number("readout.prior"), scale = 1f)
        val sums = learner.leaveOneOut(solved, x, labels, images.members, List(x.size) { 1f })
        val judged = sums.number("count")
        val isJudged = judged > 0 && images.members.size > 1
        val accuracy = if (isJudged) (sums.number("right") / judged).toDouble() else null
        val isFirst = start.number("lessons.adapted") == 0f
        val others = (knownIn(start) - images.members).size
        return decide(settings, isFirst, labels, others, schedule.epochs, accuracy) {
            learner.confidence(images.show(askedAbout(labels)))?.average()
        }
    }

    /** What an adaptation to the lesson changes in the state. */
    private fun adapted(counted: State, x: List<FloatArray>, order: RandomStream, units: RandomStream): State {
        val start = learner.beginTask(counted, images.members)
        val dim = start.getValue("prompts.g").shape.last()
        val examples = labels.indices.map { Example(images.show(listOf(it)).single(), x[it].copyOf(dim), labels[it]) }
        return train(learner.adaptation, start, examples, schedule, order, units, looked).filterKeys(::isAdapted)
    }
}

/** Whether an adaptation changes a tensor of the state, which it has under the same name. */
internal fun isAdapted(name: String): Boolean = name.substringBefore('.') in setOf("prompts", "cbp")
