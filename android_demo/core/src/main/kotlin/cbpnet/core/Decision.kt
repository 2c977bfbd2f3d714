package cbpnet.core

/** Why a lesson adapts the features, or does not; [label] is what the Python host says. */
public enum class Reason(public val label: String, internal val adapts: Boolean) {
    FIRST("first", true),
    ALWAYS("always", true),
    FOREIGN("foreign", true),
    FAMILIAR("familiar", false),
    FEW_CLASSES("few classes", false),
    OUTNUMBERED("outnumbered", false),
    ADAPTED_BEFORE("adapted before", false),
    ONE_CLASS("one class", false),
    NEVER("never", false),
}

/**
 * Whether a lesson adapts the features, and why.
 *
 * @property accuracy in [0, 1] of the lesson's own images, each classified among its classes by what
 *   is known without it; null of one class, and where no class has two images.
 * @property confidence in [0, 1] of the pretrained classifier in some of the images; null where it
 *   was not asked.
 * @property passes what is still to come, in passes forward or backward through the backbone.
 */
public data class Decision(val reason: Reason, val accuracy: Double?, val confidence: Double?, val passes: Int) {
    /** Whether the features are adapted. */
    public val adapts: Boolean get() = reason.adapts
}

/**
 * What is still to come of a lesson when its [images] have been looked at.
 *
 * @property looks what progress will yet count.
 * @property seconds how long it will take, judged by what looking took.
 */
public data class Forecast(val decision: Decision, val images: Int, val looks: Int, val seconds: Double)

/**
 * Decides about a lesson beside [others], the known classes that are not its own: by its [accuracy], and
 * by its images' [confidence], if that is asked for.
 */
internal fun decide(
    settings: LearnerSettings,
    isFirst: Boolean,
    labels: List<Int>,
    others: Int,
    epochs: Int,
    accuracy: Double?,
    confidence: () -> Double?,
): Decision {
    var asked: Double? = null
    val reason = reason(settings, isFirst, labels.toSet().size, others) ?: run {
        asked = confidence()
        if (isForeign(settings, asked, accuracy)) Reason.FOREIGN else Reason.FAMILIAR
    }
    val passes = (PASSES_OF_A_STEP * epochs + 1) * labels.size
    return Decision(reason, accuracy, asked, if (reason.adapts) passes else 0)
}

/** The rows of every tenth image, of every class in turn. */
internal fun askedAbout(labels: List<Int>): List<Int> =
    labels.indices.sortedBy { labels[it] }.filterIndexed { place, _ -> place % ASKED == 0 }

/** Why a lesson adapts or does not; null where its images decide. */
private fun reason(settings: LearnerSettings, isFirst: Boolean, classes: Int, others: Int): Reason? = when {
    settings.kind == AdaptationKind.NEVER -> Reason.NEVER
    classes < FEWEST_CLASSES -> Reason.ONE_CLASS
    settings.kind == AdaptationKind.ALWAYS -> Reason.ALWAYS
    settings.kind == AdaptationKind.FIRST -> if (isFirst) Reason.FIRST else Reason.ADAPTED_BEFORE
    classes < settings.fewestClasses -> Reason.FEW_CLASSES
    classes < settings.share * others -> Reason.OUTNUMBERED
    else -> if (isFirst) Reason.FIRST else null
}

private fun isForeign(settings: LearnerSettings, confidence: Double?, accuracy: Double?): Boolean =
    if (confidence != null) confidence < settings.confidence else accuracy != null && accuracy < settings.accuracy

private const val ASKED = 10
private const val FEWEST_CLASSES = 2 // that a cross-entropy tells apart
private const val PASSES_OF_A_STEP = 3 // forward, and two of its size backward
