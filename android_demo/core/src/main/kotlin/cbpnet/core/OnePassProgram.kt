package cbpnet.core

/** A solved readout: the state that has it, and the [metric] for [OnePassProgram.leaveOneOut]. */
internal class Solved(val state: State, val metric: Map<String, Tensor>)

/**
 * A bundle's program as the one-pass learner, of batches of any size.
 *
 * Images are [B] prepared ones, features x are B rows [F], labels class numbers.
 */
internal class OnePassProgram(private val program: Program) {
    private val manifest = program.manifest
    private val batches = Batches(manifest)
    private val counting = Batches(manifest, manifest.countedFeatures.shape[0])

    /** What it was exported with. */
    val settings: LearnerSettings = manifest.settings

    /** Capacity C in classes. */
    val classes: Int = manifest.classes

    /** Images m of a call. */
    val microBatch: Int = batches.size

    /** What trains the G-prompt, in the state that [beginTask] gives. */
    val adaptation = ProgramSteps(program, ADAPTATION)

    /** The state that the bundle was exported with: what a server learnt, or nothing. */
    fun storedState(): State = unprefixed(STATE, program.call("initial_state", emptyMap()))

    /** The features x of images. */
    fun features(state: State, images: List<RgbImage>): List<FloatArray> =
        images.chunked(batches.size).flatMap { part -> rows(look(state, part).float("x")).take(part.size) }

    /** How sure the pretrained classifier is of each image, with a prompt of zeros; null without one. */
    fun confidence(images: List<RgbImage>): List<Float>? {
        val info = manifest.method("features")
        if (info.outputs.none { it.name == "confidence" }) return null
        val blank = info.inputs.filter { it.name.startsWith(STATE) }
            .associate { it.name.removePrefix(STATE) to FloatTensor.zeros(it.shape) }
        return images.chunked(batches.size).flatMap { part ->
            look(blank, part).float("confidence").values.take(part.size)
        }
    }

    /** The state with images counted, each image once. */
    fun observe(state: State, x: List<FloatArray>, labels: List<Int>): State =
        x.indices.chunked(counting.size).fold(state) { before, part ->
            changed("observe", before, counted(x, labels, part))
        }

    /** The state with its readout solved for a prior, its scores multiplied by [scale]. */
    fun solve(state: State, prior: Float, scale: Float): Solved {
        val numbers = mapOf("prior" to number(prior), "scale" to number(scale))
        val found = program.call("solve", prefixed(STATE, state) + numbers)
        return Solved(state + unprefixed(STATE, found), found.filterKeys { !it.startsWith(STATE) })
    }

    /**
     * Sums over counted images, each classified among [members] by what is known without it and as many of
     * its class as make [copies].
     */
    fun leaveOneOut(
        solved: Solved,
        x: List<FloatArray>,
        labels: List<Int>,
        members: Set<Int>,
        copies: List<Float>,
    ): State {
        val fixed = prefixed(STATE, solved.state) + solved.metric + ("members" to marks(members, classes))
        val start = manifest.method("leave_one_out").zeros(SUMS)
        return x.indices.chunked(counting.size).fold(start) { sums, part ->
            val inputs = fixed + prefixed(SUMS, sums) + counted(x, labels, part) +
                ("copies" to counting.copies(copies.slice(part)))
            sums + unprefixed(SUMS, program.call("leave_one_out", inputs))
        }
    }

    /** What images are taken for. */
    fun predict(state: State, x: List<FloatArray>): List<Answer> = x.chunked(batches.size).flatMap { part ->
        val found = program.call("predict", prefixed(STATE, state) + ("x" to batches.features(part)))
        val unknown = found.float("unknown").values
        rows(found.float("scores")).take(part.size).mapIndexed { row, scores ->
            Answer(scores, task = null, Unlikeness(unknown[row], state.number("unknown.threshold")))
        }
    }

    /** The adaptation's state, ready to train on classes of which the images have been observed. */
    fun beginTask(state: State, members: Set<Int>): State {
        val inputs = prefixed(STATE, state) + ("members" to marks(members, classes))
        return unprefixed(ADAPTATION, program.call("begin_task", inputs))
    }

    /** The sums of no pairs. */
    fun zeroDrift(): State = manifest.method("compare").zeros(DRIFT)

    /** The sums over pairs of features of a lesson's images, before and after an adaptation. */
    fun compare(before: List<FloatArray>, after: List<FloatArray>): State =
        before.indices.chunked(counting.size).fold(zeroDrift()) { drift, part ->
            val inputs = prefixed(DRIFT, drift) + mapOf(
                "before" to counting.features(before.slice(part)),
                "after" to counting.features(after.slice(part)),
                "weight" to counting.weights(PAIR, part.size),
                "labels" to counting.labels(emptyList()), // which kept pictures alone have
            )
            drift + unprefixed(DRIFT, program.call("compare", inputs))
        }

    /** The state carried over an adaptation by sums over pairs. */
    fun carry(state: State, drift: State): State = changed("carry", state, prefixed(DRIFT, drift))

    private fun look(state: State, part: List<RgbImage>): Map<String, Tensor> =
        program.call("features", prefixed(STATE, state) + ("images" to batches.images(part)))

    private fun counted(x: List<FloatArray>, labels: List<Int>, part: List<Int>): Map<String, Tensor> =
        mapOf("x" to counting.features(x.slice(part)), "labels" to counting.labels(labels.slice(part)))

    private fun changed(method: String, state: State, inputs: Map<String, Tensor>): State =
        state + unprefixed(STATE, program.call(method, prefixed(STATE, state) + inputs))

    private companion object {
        const val PAIR = 0.3f // what a lesson's pair of features counts, of which a kept picture's counts 1
    }
}
