package cbpnet.core

import kotlin.math.log10
import kotlin.math.sqrt

private const val DOUBT = 8.0 // nats, of a prior ten times smaller or larger than 1
private const val DEVIATIONS = 1.4 // 92 of 100 scores are below that many, if they are normal
private const val FEWEST = 2

/** Sums of an adaptation's drift that have a row for each class. */
internal val BY_CLASS = setOf("count", "before", "after")

/** The classes that have images. */
internal fun knownIn(state: State): Set<Int> {
    val counts = state.getValue("classes.count").values
    return counts.indices.filter { counts[it] > 0 }.toSet()
}

/**
 * The state with the prior and the scale that remembered images ask for.
 *
 * A prior other than 1 needs a little evidence. How sure answers may be, and where known images end, is
 * judged by each image without those of its lesson that are nearly alike.
 */
internal fun choose(learner: OnePassProgram, state: State, remembered: Remembered): State {
    val settings = learner.settings
    val heard = hear(learner, state, remembered) ?: return state // no image can be left out
    val chosen = HashMap<String, FloatTensor>()
    chosen["readout.evidence"] = heard.evidence
    chosen["readout.calibration"] = heard.calibration
    chosen["readout.prior"] = number(settings.priors[likeliest(settings, heard.evidence)].toFloat())
    val calibration = heard.calibration.values
    if (calibration.any { it != 0f }) { // not with one class, of which every answer is sure
        chosen["readout.scale"] = number(settings.scales[calibration.indices.maxBy { calibration[it] }].toFloat())
    }
    if (settings.tellsUnknown) chosen["unknown.threshold"] = number(unknownThreshold(heard.sums))
    return state + chosen
}

/** What remembered images and others said: [evidence], [calibration], and the [sums] of the former. */
internal class Heard(val evidence: FloatTensor, val calibration: FloatTensor, val sums: State)

/** Judges remembered images by a state that knows them, each without itself; null where none can be. */
internal fun hear(learner: OnePassProgram, state: State, remembered: Remembered): Heard? {
    val settings = learner.settings
    val known = knownIn(state)
    val asked = remembered.lessons.zip(remembered.sampled()).filter { (_, own) -> own.isNotEmpty() }
    val x = asked.flatMap { (lesson, own) -> own.map(lesson.x::get) }
    val labels = asked.flatMap { (lesson, own) -> own.map(lesson.labels::get) }
    val alone = List(x.size) { 1f }
    val found = settings.priors.map { prior ->
        learner.leaveOneOut(learner.solve(state, prior.toFloat(), scale = 1f), x, labels, known, alone)
    }
    if (found.all { it.number("count") == 0f }) return null
    val evidence = plus(remembered.evidence, found.flatMap { it.getValue("likelihood").values.toList() })
    val prior = settings.priors[likeliest(settings, evidence)].toFloat()
    val solved = learner.solve(state, prior, scale = 1f)
    val copies = asked.flatMap { (lesson, own) ->
        own.map(countCopies(lesson, state.getValue("classes.mean"), solved.metric.float("inverse"))::get)
    }
    val sums = learner.leaveOneOut(solved, x, labels, known, copies)
    return Heard(evidence, plus(remembered.calibration, sums.getValue("likelihood").values.toList()), sums)
}

/** The matrix [F, F] by which an adaptation carries features; [state] is any of the learner's. */
internal fun linearMap(learner: OnePassProgram, state: State, drift: State): FloatTensor {
    val mean = state.getValue("classes.mean")
    val (classes, width) = mean.shape
    val alone = drift.mapValues { (name, sums) -> if (name in BY_CLASS) FloatTensor.zeros(sums.shape) else sums }
    val blank = state.mapValues { (name, tensor) ->
        if (name.startsWith("classes.")) FloatTensor.zeros(tensor.shape) else tensor
    }
    val map = FloatArray(width * width)
    for (start in 0 until width step classes) {
        val units = FloatArray(mean.values.size)
        val few = minOf(classes, width - start)
        for (row in 0 until few) units[row * width + start + row] = 1f
        val carried = learner.carry(blank + ("classes.mean" to FloatTensor(units, mean.shape)), alone)
        carried.getValue("classes.mean").values.copyInto(map, start * width, 0, few * width)
    }
    return FloatTensor(map, listOf(width, width))
}

/**
 * Where known images' unknown scores end, by [sums] over counted images, each scored by what is known
 * without it: at the quantile 0.92 of Student's t, about, by Cornish and Fisher's first order.
 *
 * Without two scores no image is unknown.
 */
internal fun unknownThreshold(sums: State): Float {
    val count = sums.number("count").toDouble()
    if (count < FEWEST) return Float.POSITIVE_INFINITY
    val (total, squares) = sums.getValue("unknown").values.map(Float::toDouble)
    val mean = total / count
    val free = count - 1
    val deviation = sqrt(maxOf(squares - count * mean * mean, 0.0) / free)
    val few = 1 + (DEVIATIONS * DEVIATIONS + 1) / (4 * free)
    return (mean + DEVIATIONS * few * sqrt(1 + 1 / count) * deviation).toFloat()
}

/** The place of the prior that is likeliest by evidence [priors, scales]. */
private fun likeliest(settings: LearnerSettings, evidence: FloatTensor): Int {
    val best = rows(evidence).map { it.max() }
    return best.indices.maxBy { best[it] - doubt(settings.priors[it]) }
}

private fun doubt(prior: Double): Float = (DOUBT * log10(prior) * log10(prior)).toFloat()

private fun plus(tensor: FloatTensor, others: List<Float>): FloatTensor =
    FloatTensor(FloatArray(others.size) { tensor.values[it] + others[it] }, tensor.shape)
