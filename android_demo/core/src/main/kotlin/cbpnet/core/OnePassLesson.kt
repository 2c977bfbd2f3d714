package cbpnet.core

import kotlin.math.log10

private const val DOUBT = 8.0 // nats, of a prior ten times smaller or larger than 1

/** The pictures of a lesson, each decoded when it is first shown, and their class numbers. */
internal class LessonImages(pictures: List<Picture>, val labels: List<Int>, preprocessing: Preprocessing) {
    private val prepared = pictures.map { lazy(LazyThreadSafetyMode.NONE) { it.prepared(preprocessing) } }

    /** The classes. */
    val members: Set<Int> = labels.toSet()

    /** Some images, prepared. */
    fun show(rows: Iterable<Int>): List<RgbImage> = rows.map { prepared[it].value }
}

/**
 * A lesson of the one-pass learner: look, decide, perhaps adapt, and count.
 *
 * It does what `cbpnet/run/lesson.py` does, without kept pictures. Features x are a row [F] for each
 * of the images, of which none has been counted before.
 *
 * @param schedule of an adaptation.
 * @param looked is told of images that went through the backbone.
 * @param decided is told the decision once the images have been looked at.
 */
internal class OnePassLesson(
    private val learner: OnePassProgram,
    private val settings: LearnerSettings,
    private val images: LessonImages,
    private val schedule: Schedule,
    private val looked: (images: Int) -> Unit,
    private val decided: (Decision) -> Unit,
) {
    private val labels = images.labels

    /** The state after the lesson, and what was decided; [seed] is of an adaptation's order. */
    fun learn(start: State, seed: Int): Pair<State, Decision> {
        val x = look(start)
        var counted = count(start, x)
        val decision = decide(start, counted, x)
        decided(decision)
        val lesson = start.number("lessons.count").toInt() + 1
        if (decision.adapts) {
            // Apart, so that the order of images does not depend on whether tokens are replaced.
            val (order, units) = listOf(lesson, -lesson).map { RandomStream(seed, it) }
            val moved = start + adapted(counted.state, x, order, units) +
                ("lessons.adapted" to number(start.number("lessons.adapted") + 1))
            val after = look(moved)
            counted = count(learner.carry(moved, x, after), after)
        }
        val state = counted.state
        val solved = learner.solve(state, state.number("readout.prior"), state.number("readout.scale"))
        return solved.state + ("lessons.count" to number(lesson.toFloat())) to decision
    }

    private fun look(state: State): List<FloatArray> = labels.indices.chunked(learner.microBatch).flatMap { part ->
        learner.features(state, images.show(part)).also { looked(part.size) }
    }

    /** The state with the images counted, and the prior and the scale chosen anew, with its metric. */
    private fun count(state: State, x: List<FloatArray>): Solved = choose(learner.observe(state, x, labels), x)

    /** The prior and the scale by which images so far are likeliest; a prior other than 1 needs a little evidence. */
    private fun choose(counted: State, x: List<FloatArray>): Solved {
        val counts = counted.getValue("classes.count").values
        val known = counts.indices.filter { counts[it] > 0 }.toSet()
        val solved = settings.priors.map { learner.solve(counted, it.toFloat(), scale = 1f) }
        val found = solved.flatMap { evidence(it, x, known).getValue("likelihood").values.toList() }
        val before = counted.getValue("readout.evidence")
        val evidence = FloatArray(found.size) { before.values[it] + found[it] }
        if (evidence.all { it == 0f }) { // no image so far could be left out
            return Solved(counted, learner.solve(counted, counted.number("readout.prior"), scale = 1f).metric)
        }
        val scales = settings.scales.size
        val likeliest = evidence.indices.maxBy { evidence[it] - doubt(settings.priors[it / scales]) }
        val chosen = mapOf(
            "readout.evidence" to FloatTensor(evidence, before.shape),
            "readout.prior" to number(settings.priors[likeliest / scales].toFloat()),
            "readout.scale" to number(settings.scales[likeliest % scales].toFloat()),
        )
        return Solved(counted + chosen, solved[likeliest / scales].metric)
    }

    /** Sums over the counted images, each classified among [members] by what is known without it. */
    private fun evidence(counted: Solved, x: List<FloatArray>, members: Set<Int>): State =
        learner.leaveOneOut(counted, x, labels, members)

    private fun decide(start: State, counted: Solved, x: List<FloatArray>): Decision {
        val sums = evidence(counted, x, images.members)
        val judged = sums.number("count")
        val isJudged = judged > 0 && images.members.size > 1
        val accuracy = if (isJudged) (sums.number("right") / judged).toDouble() else null
        val isFirst = start.number("lessons.adapted") == 0f
        val before = start.getValue("classes.count").values
        val others = before.indices.count { before[it] > 0 && it !in images.members }
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

private fun doubt(prior: Double): Float = (DOUBT * log10(prior) * log10(prior)).toFloat()
