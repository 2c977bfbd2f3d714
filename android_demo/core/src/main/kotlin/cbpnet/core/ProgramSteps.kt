package cbpnet.core

/** An image of a lesson, prepared, with its query features [D] and its class number. */
internal class Example(val image: RgbImage, val query: FloatArray, val label: Int)

/**
 * What training needs of a bundle's program: gradients of a step's images, then an update.
 *
 * [prefix] stands before the names of the tensors that are trained.
 */
internal class ProgramSteps(private val program: Program, private val prefix: String) {
    private val batches = Batches(program.manifest)

    /** Images m of a call. */
    val microBatch: Int = batches.size

    /** Gradient sums of no images. */
    fun zeroSums(): State = program.manifest.method("gradients").zeros(SUMS)

    /** The sums with at most m images of the current task added. */
    fun gradients(state: State, examples: List<Example>, sums: State): State {
        val batch = mapOf(
            "images" to batches.images(examples.map { it.image }),
            "query" to batches.features(examples.map { it.query }),
            "labels" to batches.labels(examples.map { it.label }),
        )
        return unprefixed(SUMS, program.call("gradients", prefixed(prefix, state) + prefixed(SUMS, sums) + batch))
    }

    /** The state after one step; [rate] multiplies the learning rates, [random] draws fresh units. */
    fun update(state: State, sums: State, random: RandomStream, rate: Float): State {
        val noise = program.manifest.method("update").inputs.filter { it.name == "noise" }.associate {
            it.name to FloatTensor(random.uniform(elements(it.shape)), it.shape)
        }
        val inputs = prefixed(prefix, state) + prefixed(SUMS, sums) + noise + ("rate" to number(rate))
        return state + unprefixed(prefix, program.call("update", inputs))
    }
}
