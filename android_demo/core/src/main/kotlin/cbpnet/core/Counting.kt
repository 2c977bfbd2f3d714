package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import kotlin.math.log10
import kotlin.math.sqrt

/** Images that choose prior and scale. */
internal const val SAMPLE = 200
private const val DOUBT = 8.0 // nats, of a prior ten times smaller or larger than 1
private const val DEVIATIONS = 1.5 // 93 of 100 scores are below that many, if they are normal
private const val FEWEST = 2

/** A number that a prepared image's pixels give: the first 8 bytes of their SHA-256, little-endian. */
internal fun pictureKey(image: RgbImage): ULong {
    val digest = MessageDigest.getInstance("SHA-256").digest(image.pixels)
    return ByteBuffer.wrap(digest).order(ByteOrder.LITTLE_ENDIAN).getLong().toULong()
}

/**
 * Counted images, by their features [x], [labels] and [keys]: which are sampled depends on the keys alone.
 *
 * @property evidence that of counted images that are not remembered.
 */
internal class Remembered(
    val x: List<FloatArray>,
    val labels: List<Int>,
    val keys: List<ULong>,
    val evidence: FloatTensor,
) {
    /** These images and others. */
    fun joined(x: List<FloatArray>, labels: List<Int>, keys: List<ULong>): Remembered =
        Remembered(this.x + x, this.labels + labels, this.keys + keys, evidence)

    /** The images of the smallest keys. */
    fun sample(): Remembered {
        val rows = sampleOf(keys, labels)
        return Remembered(rows.map(x::get), rows.map(labels::get), rows.map(keys::get), evidence)
    }

    /** The same images by other features. */
    fun with(x: List<FloatArray>): Remembered = Remembered(x, labels, keys, evidence)
}

/** The places, in order, of the images with the smallest keys. */
internal fun sampleOf(keys: List<ULong>, labels: List<Int>, most: Int = SAMPLE): List<Int> =
    keys.indices.sortedWith(compareBy({ keys[it] }, { labels[it] })).take(most).sorted()

/** The classes that have images. */
internal fun knownIn(state: State): Set<Int> {
    val counts = state.getValue("classes.count").values
    return counts.indices.filter { counts[it] > 0 }.toSet()
}

/**
 * The state with the prior and the scale that counted images ask for, and the metric of that prior.
 *
 * They also say where known images end. [evidence] is that of others; a prior other than 1 needs a
 * little of it.
 */
internal fun choose(
    learner: OnePassProgram,
    counted: State,
    x: List<FloatArray>,
    labels: List<Int>,
    evidence: FloatTensor,
): Solved {
    val settings = learner.settings
    val judged = judge(learner, counted, x, labels)
    val sum = plus(evidence, judged)
    if (sum.values.all { it == 0f }) { // no image so far could be left out
        return Solved(counted, learner.solve(counted, counted.number("readout.prior"), scale = 1f).metric)
    }
    val scales = settings.scales.size
    val likeliest = sum.values.indices.maxBy { sum.values[it] - doubt(settings.priors[it / scales]) }
    val row = likeliest / scales
    val chosen = mapOf(
        "readout.evidence" to sum,
        "readout.prior" to number(settings.priors[row].toFloat()),
        "readout.scale" to number(settings.scales[likeliest % scales].toFloat()),
    )
    val (solved, sums) = judged[row]
    val tells = settings.tellsUnknown && sums.number("count") > 0
    val threshold = if (tells) mapOf("unknown.threshold" to number(unknownThreshold(sums))) else emptyMap()
    return Solved(counted + chosen + threshold, solved.metric)
}

/** For each prior what it solves, and sums over counted images, each classified by what is known without it. */
internal fun judge(
    learner: OnePassProgram,
    state: State,
    x: List<FloatArray>,
    labels: List<Int>,
): List<Pair<Solved, State>> = learner.settings.priors.map { prior ->
    val solved = learner.solve(state, prior.toFloat(), scale = 1f)
    solved to learner.leaveOneOut(solved, x, labels, knownIn(state))
}

/** The evidence of others and what judged images say of each prior and scale. */
internal fun plus(evidence: FloatTensor, judged: List<Pair<Solved, State>>): FloatTensor {
    val found = judged.flatMap { (_, sums) -> sums.getValue("likelihood").values.toList() }
    return FloatTensor(FloatArray(found.size) { evidence.values[it] + found[it] }, evidence.shape)
}

/**
 * Features as the linear map of an adaptation carries them.
 *
 * They go through it as the means of classes without images and without kept pictures.
 */
internal fun carriedFeatures(
    learner: OnePassProgram,
    state: State,
    drift: State,
    x: List<FloatArray>,
): List<FloatArray> {
    val mean = state.getValue("classes.mean")
    val alone = drift.mapValues { (name, sums) -> if (name in BY_CLASS) FloatTensor.zeros(sums.shape) else sums }
    val blank = state.mapValues { (name, tensor) ->
        if (name.startsWith("classes.")) FloatTensor.zeros(tensor.shape) else tensor
    }
    return x.chunked(learner.classes).flatMap { few ->
        val values = FloatArray(mean.values.size)
        few.forEachIndexed { row, feature -> feature.copyInto(values, row * feature.size) }
        val carried = learner.carry(blank + ("classes.mean" to FloatTensor(values, mean.shape)), alone)
        rows(carried.getValue("classes.mean")).take(few.size)
    }
}

/** Sums of an adaptation's drift that have a row for each class. */
internal val BY_CLASS = setOf("count", "before", "after")

/**
 * Where known images' unknown scores end, by [sums] over counted images, each scored by what is known
 * without it: at the quantile 0.93 of Student's t, about, by Cornish and Fisher's first order.
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

private fun doubt(prior: Double): Float = (DOUBT * log10(prior) * log10(prior)).toFloat()
