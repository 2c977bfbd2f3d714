package cbpnet.core

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

/** The picture as a backbone sees it; throws [InputException] where it cannot be decoded. */
internal fun Picture.prepared(preprocessing: Preprocessing): RgbImage = try {
    prepare(decode(), preprocessing)
} catch (error: Exception) {
    throw InputException("The picture $name cannot be used (${error.message}). Delete it.", error)
}
